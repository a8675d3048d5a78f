# The installer of tests/vm_runtime/installer.py, as GNU as reads it:
# as --32 -o i.o installer.s && objcopy -O binary -j .text i.o i.bin; its two sectors end at the last byte that is not zero.
.code16
.org 0
start: cli
 xor %ax,%ax
 mov %ax,%ds
 mov %ax,%es
 mov %ax,%ss
 mov $0x7c00,%sp
 sti
 cld
 mov $0x7c00,%si
 mov $0x9000,%di
 mov $1024,%cx
 rep movsw
 ljmp $0,$0x9000+(moved-start)
moved:
 mov $0x42,%ah
 mov $0x80,%dl
 mov $0x9000+(disk-start),%si
 int $0x13
 jc broken
 cmpw $0xaa55,0x7dfe
 jne fresh
 mov $0x80,%dl
 ljmp $0,$0x7c00
fresh:
 mov $0x9000+(hello-start),%si
 call say
 mov $0x42,%ah
 mov $0xe1,%dl
 mov $0x9000+(driver-start),%si
 int $0x13
 jc broken
 mov $0xa000,%si
 call say
 mov $0x4300,%ax
 mov $0x80,%dl
 mov $0x9000+(system-start),%si
 int $0x13
 jc broken
 mov $0x9000+(done-start),%si
 call say
 jmp off
broken:
 mov $0x9000+(wrong-start),%si
 call say
off:
 mov $0x604,%dx
 mov $0x2000,%ax
 out %ax,%dx
halt: hlt
 jmp halt
say: lodsb
 test %al,%al
 jz said
 mov %al,%bl
wait: mov $0x3fd,%dx
 in %dx,%al
 test $0x20,%al
 jz wait
 mov %bl,%al
 mov $0x3f8,%dx
 out %al,%dx
 jmp say
said: ret
.balign 4
disk: .byte 16,0
 .word 1,0x7c00,0
 .quad 0
driver: .byte 16,0
 .word 1,0xa000,0
 .quad 0
system: .byte 16,0
 .word 1,0x9200,0
 .quad 0
hello: .asciz "Installing with "
done: .asciz "Installed\r\n"
wrong: .asciz "The disk cannot be used\r\n"
.org 512
sys: cli
 xor %ax,%ax
 mov %ax,%ds
 mov %ax,%es
 mov %ax,%ss
 mov $0x7c00,%sp
 sti
 cld
 incb 0x7c00+(count-sys)
 mov $0x4300,%ax
 mov $0x80,%dl
 mov $0x7c00+(me-sys),%si
 int $0x13
 mov $0x7c00+(words-sys),%si
 call sayb
 mov $0x602,%dx
 mov $0x100,%ax
 out %ax,%dx
press: mov $0x600,%dx
 in %dx,%ax
 test $1,%ah
 jz press
 mov $0x604,%dx
 mov $0x2000,%ax
 out %ax,%dx
stay: hlt
 jmp stay
sayb: lodsb
 test %al,%al
 jz saidb
 mov %al,%bl
waitb: mov $0x3fd,%dx
 in %dx,%al
 test $0x20,%al
 jz waitb
 mov %bl,%al
 mov $0x3f8,%dx
 out %al,%dx
 jmp sayb
saidb: ret
.balign 4
me: .byte 16,0
 .word 1,0x7c00,0
 .quad 0
words: .ascii "Start number "
count: .byte 0x30
 .asciz " from the disk\r\n"
.org 512+510
.word 0xaa55
