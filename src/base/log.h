/* The log: one line an event, to stderr, with a level.
 *
 * The only module with file-scope state. Lines never hold message text, secrets or full
 * identifiers; what a peer can trigger is rate-limited by the caller through
 * log_peer(). With JOURNAL_STREAM in the environment lines get <N> prefixes. */
#ifndef LINNET_BASE_LOG_H
#define LINNET_BASE_LOG_H

#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/* printf-like; a newline is added. Control characters in the result are replaced. */
__attribute__((format(printf, 2, 3))) void log_line(enum log_level level, const char *fmt,
                                                    ...);
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)

/* Like log_line, for lines that a peer can trigger: at most LOG_PEER_BURST lines in a
 * second for the whole program, the rest is counted and told once ("12 lines left out").
 */
enum { LOG_PEER_BURST = 10 };
__attribute__((format(printf, 3, 4))) void log_peer(uint64_t now_ms, enum log_level level,
                                                    const char *fmt, ...);

#endif
