package runner

import groovy.transform.CompileStatic
import java.time.Instant
import java.time.temporal.ChronoUnit
import java.util.concurrent.CopyOnWriteArraySet

/** The build's log: one line at a time, with secrets replaced by asterisks. */
@CompileStatic
class Log {
    private static final int SHORTEST_SECRET = 4

    boolean timestamps = false
    private final CopyOnWriteArraySet<String> secrets = new CopyOnWriteArraySet<String>()
    private final PrintStream out

    Log(PrintStream out) { this.out = out }

    /** Masks the text, and each line of it, from now on. */
    void hide(String secret) {
        ([secret] + secret.readLines()).each { String part ->
            if (part.trim().length() >= SHORTEST_SECRET) secrets.add(part.trim())
        }
    }

    synchronized void line(String text, String label = '') {
        String shown = text
        // The longest first, because one secret may be part of another.
        secrets.sort { String secret -> -secret.length() }.each { String secret ->
            shown = shown.replace(secret, '****')
        }
        String stamp = timestamps ? "[${Instant.now().truncatedTo(ChronoUnit.MILLIS)}] " : ''
        out.println(stamp + (label ? "[$label] " : '') + shown)
        out.flush()
    }

    void say(String text) { line("[Pipeline] $text") }
}
