/* The limit of the machine: epoll, no parsing beyond the end of a request, one answer that never changes.
 *
 *     cc -O2 -o limit limit.c && ./limit PORT PROCESSES
 *
 * What a server does beyond this is its own cost; what it reaches of this is never more than the load generator sends. */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST = 65536, EVENTS = 256, FILES = 4096 };
static const char BODY[] =
    "{\"prediction_id\":\"0NVg5QFm9V0Tb7iWVVJ---3-----------3zzzzzzzzzzzzzzzzzzzzzzzzzzzz-\",\"prediction\":\"setosa\","
    "\"class_id\":0,\"confidence\":1.0,\"probabilities\":{\"setosa\":1.0,\"versicolor\":0.0,\"virginica\":0.0},"
    "\"model_version\":\"v1\",\"assignment\":\"weighted\",\"latency_ms\":0.05,\"timestamp\":\"2026-11-20T12:00:00.123456Z\"}";
static char answer[1024];
static struct { char data[MOST]; size_t used; } *request[FILES];

/* The length of the first whole request of `data`, or 0. */
static size_t whole(const char *data, size_t used) {
  const char *end = memmem(data, used, "\r\n\r\n", 4), *length = data;
  if (!end) return 0;
  size_t body = 0;
  while ((length = memchr(length, '\n', end - length)))
    if (!strncasecmp(++length, "content-length:", 15)) body = strtoul(length + 15, NULL, 10);
  size_t size = end + 4 - data + body;
  return size <= used ? size : 0;
}

static void forget(int file) { close(file); free(request[file]); request[file] = NULL; }

static void serve(int file) {
  char *data = request[file]->data;
  ssize_t got = read(file, data + request[file]->used, MOST - request[file]->used);
  if (got <= 0) { forget(file); return; }
  request[file]->used += got;
  for (size_t size; (size = whole(data, request[file]->used));) {
    memmove(data, data + size, request[file]->used -= size);
    if (write(file, answer, strlen(answer)) < 0) { forget(file); return; }
  }
}

static void run(int port) {
  int one = 1, listening = socket(AF_INET, SOCK_STREAM, 0), poll = epoll_create1(0);
  struct sockaddr_in address = {AF_INET, htons(port), {htonl(INADDR_LOOPBACK)}, {0}};
  struct epoll_event event = {EPOLLIN, {.fd = listening}}, ready[EVENTS];
  setsockopt(listening, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
  if (bind(listening, (struct sockaddr *)&address, sizeof address) || listen(listening, 1024)) { perror("bind"); exit(1); }
  epoll_ctl(poll, EPOLL_CTL_ADD, listening, &event);
  for (;;)
    for (int at = 0, count = epoll_wait(poll, ready, EVENTS, -1); at < count; at++) {
      if (ready[at].data.fd != listening) { serve(ready[at].data.fd); continue; }
      int file = accept(listening, NULL, NULL);
      if (file < 0) continue;
      if (file >= FILES || !(request[file] = calloc(1, sizeof **request))) { close(file); continue; }
      setsockopt(file, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      event.data.fd = file;
      epoll_ctl(poll, EPOLL_CTL_ADD, file, &event);
    }
}

int main(int count, char **words) {
  if (count != 3) return 2;
  signal(SIGPIPE, SIG_IGN);
  snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
           strlen(BODY), BODY);
  for (int more = atoi(words[2]) - 1; more > 0; more--)
    if (!fork()) { prctl(PR_SET_PDEATHSIG, SIGTERM); break; }
  run(atoi(words[1]));
}
