/* Answers every datagram on port 5353 with what it heard, for a guest that is reached by UDP. */
#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>

int main(void) {
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(5353)}, there;
    char said[2048] = "heard ";
    int port = socket(AF_INET, SOCK_DGRAM, 0);
    if (port < 0 || bind(port, (struct sockaddr *)&here, sizeof here)) return 1;
    for (;;) {
        socklen_t size = sizeof there;
        ssize_t length = recvfrom(port, said + 6, sizeof said - 6, 0, (struct sockaddr *)&there, &size);
        if (length >= 0) sendto(port, said, length + 6, 0, (struct sockaddr *)&there, size);
    }
}
