/* What a kernel does in its first second, as the only firmware of a tiny machine.
 *
 * Starts at the reset vector, goes through protected into long mode with paging, computes with SSE2, enters ring 3
 * and comes back by `syscall`, takes a page fault and repairs it, then waits for three ticks of the timer. Only then
 * does it write SUCCESS to the debug-exit port. A KVM that cannot do one of these hangs, faults or is stopped.
 *
 * as --64 probe.S -o probe.o && ld -Ttext=0xff000 --oformat=binary -o probe.bin probe.o    (a test compares the two)
 * The ROM's last 4 KiB; readable at 0xff000 and, for the reset vector, below 4 GiB.
 */
        .set SUCCESS, 42
        .set EXIT_PORT, 0xf4
        .set TABLES, 0x1000             /* PML4, PDPT, PD: a page each */
        .set IDT, 0x4000
        .set TSS, 0x5000
        .set TICKS, 0x6000
        .set GDT, 0x7000
        .set STACK, 0x9000
        .set USER_STACK, 0xa000
        .set MISSING, 0x200000          /* not mapped until the page fault */

        .text
        .globl _start
_start:
        .code16
real:   cli
        lgdtl   %cs:(gdt_pointer - _start + 0xf000)
        movl    %cr0, %eax
        orl     $1, %eax
        movl    %eax, %cr0
        ljmpl   $0x08, $protected

        .code32
protected:
        movw    $0x10, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movl    $STACK, %esp
        cld
        xorl    %eax, %eax
        movl    $TABLES, %edi
        movl    $0x1800, %ecx           /* 24 KiB of zeros: tables, IDT, TSS, ticks */
        rep stosl
        movl    $gdt, %esi              /* to memory that can be written: ltr marks its entry */
        movl    $GDT, %edi
        movl    $18, %ecx
        rep movsl
        lgdtl   kept_gdt_pointer
        movl    $TABLES + 0x1007, TABLES
        movl    $TABLES + 0x2007, TABLES + 0x1000
        movl    $0x87, TABLES + 0x2000  /* 0 to 2 MiB, for user and kernel, one large page */
        pushl   $0x10                   /* an interrupt's return within the kernel */
        popl    %ds
        pushfl
        pushl   $0x08
        pushl   $1f
        iretl
1:      movl    $0x1ff, 0xfee000f0      /* the local APIC: on, and open to the interrupt controllers below */
        movl    $0x700, 0xfee00350
        movl    $0x620, %eax            /* PAE, OSFXSR, OSXMMEXCPT */
        movl    %eax, %cr4
        movl    $TABLES, %eax
        movl    %eax, %cr3
        movl    $0xc0000080, %ecx       /* EFER: long mode, syscall */
        rdmsr
        orl     $0x101, %eax
        wrmsr
        movl    %cr0, %eax
        andl    $~0x60000004, %eax      /* caches on */
        orl     $0x80000002, %eax       /* paging; coprocessor present */
        movl    %eax, %cr0
        ljmpl   $0x18, $long_mode

        .code64
long_mode:
        movl    $STACK, %esp
        movl    $IDT, %edi
        movl    $page_fault, %eax
        leal    14 * 16(%edi), %ebx
        call    gate
        movl    $tick, %eax
        leal    32 * 16(%edi), %ebx
        call    gate
        lidt    idt_pointer
        movl    $STACK, TSS + 4         /* the kernel's stack for interrupts from ring 3 */
        movw    $0x38, %ax
        ltr     %ax

        movl    $7, %eax                /* SSE2 */
        movd    %eax, %xmm0
        pshufd  $0, %xmm0, %xmm0
        paddd   %xmm0, %xmm0
        movd    %xmm0, %eax
        cmpl    $14, %eax
        jne     fail

        movl    $0xc0000081, %ecx       /* STAR: kernel 0x18, user 0x20 + 16 */
        xorl    %eax, %eax
        movl    $0x00200018, %edx
        wrmsr
        incl    %ecx                    /* LSTAR */
        movl    $from_user, %eax
        xorl    %edx, %edx
        wrmsr
        pushq   $0x2b
        pushq   $USER_STACK
        pushq   $0x02
        pushq   $0x33
        pushq   $user
        iretq

user:   movq    %cs, %rax
        andl    $3, %eax
        cmpl    $3, %eax
        jne     fail
        incl    MISSING                 /* faults; the handler maps it and we go on */
        syscall

from_user:
        movl    $STACK, %esp
        cmpl    $1, MISSING
        jne     fail
        movb    $0x11, %al              /* both interrupt controllers; IRQ 0 is vector 32 */
        outb    %al, $0x20
        outb    %al, $0xa0
        movb    $32, %al
        outb    %al, $0x21
        movb    $40, %al
        outb    %al, $0xa1
        movb    $4, %al
        outb    %al, $0x21
        movb    $2, %al
        outb    %al, $0xa1
        movb    $1, %al
        outb    %al, $0x21
        outb    %al, $0xa1
        movb    $0xfe, %al
        outb    %al, $0x21
        movb    $0xff, %al
        outb    %al, $0xa1
        movb    $0x34, %al              /* the timer, about every millisecond */
        outb    %al, $0x43
        movb    $0xa9, %al
        outb    %al, $0x40
        movb    $0x04, %al
        outb    %al, $0x40
1:      sti
        hlt
        cli
        cmpl    $3, TICKS
        jb      1b
        cpuid
        movb    $SUCCESS, %al
        outb    %al, $EXIT_PORT
fail:   cli
        hlt
        jmp     fail

page_fault:
        addq    $8, %rsp                /* the error code */
        movq    $MISSING + 0x87, TABLES + 0x2008
        iretq

tick:   pushq   %rax
        incl    TICKS
        movb    $0x20, %al
        outb    %al, $0x20
        popq    %rax
        iretq

gate:   movw    %ax, (%ebx)             /* an interrupt gate at ebx to eax */
        movl    $0x8e000018, 2(%ebx)
        movw    $0x8e00, 4(%ebx)
        shrl    $16, %eax
        movw    %ax, 6(%ebx)
        ret

        .balign 8
gdt:    .quad   0
        .quad   0x00cf9b000000ffff      /* 08 code, 32 bits */
        .quad   0x00cf93000000ffff      /* 10 data */
        .quad   0x00af9b000000ffff      /* 18 code, 64 bits */
        .quad   0x00cf93000000ffff      /* 20 data: what syscall loads after 18 */
        .quad   0x00cff3000000ffff      /* 28 user data */
        .quad   0x00affb000000ffff      /* 30 user code, 64 bits */
        .quad   0x0000890050000067      /* 38 TSS at 0x5000 */
        .quad   0
gdt_pointer:
        .word   gdt_pointer - gdt - 1
        .long   gdt
kept_gdt_pointer:
        .word   gdt_pointer - gdt - 1
        .long   GDT
idt_pointer:
        .word   0x20f
        .quad   IDT

        .org    0xff0
        .code16
        .byte   0xe9                    /* jmp real: the same segment, from the reset vector */
        .word   (_start - .) - 2
        .org    0x1000
