/* An HTTP server for one connection after the other. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void) {
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(80)};
    static const char answer[] = "HTTP/1.0 200 OK\r\n\r\nhello from C";
    int one = 1, door = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(door, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(door, (struct sockaddr *)&any, sizeof any) || listen(door, 9)) return perror("cannot listen"), 1;
    for (;;) {
        char request[4096];
        int guest = accept(door, NULL, NULL);
        if (guest < 0) return perror("cannot accept"), 1;
        if (read(guest, request, sizeof request) > 0) write(guest, answer, strlen(answer));
        close(guest);
    }
}
