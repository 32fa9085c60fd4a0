package runner

import groovy.transform.CompileStatic
import java.util.concurrent.atomic.AtomicBoolean

/** The context of a step: folder, variables, time limit. Each nested block gets its own. */
@CompileStatic
class Context {
    private static final InheritableThreadLocal<Context> CURRENT = new InheritableThreadLocal<Context>()

    Map<String, String> variables = [:]
    File folder
    /** Milliseconds since the epoch; Long.MAX_VALUE without a time limit. */
    long deadline = Long.MAX_VALUE
    List<AtomicBoolean> givenUp = []
    String label = ''

    static Context now() { CURRENT.get() }

    /** Runs the body in this thread with the given fields changed, and restores the context afterwards. */
    static <T> T within(Map<String, Object> changes, Closure<T> body) {
        Context before = CURRENT.get()
        CURRENT.set(copy(before, changes))
        try {
            return body.call()
        } finally {
            CURRENT.set(before)
        }
    }

    static Context copy(Context from, Map<String, Object> changes) {
        Context to = new Context()
        if (from != null) {
            to.variables = from.variables
            to.folder = from.folder
            to.deadline = from.deadline
            to.givenUp = from.givenUp
            to.label = from.label
        }
        if (changes.variables) to.variables = to.variables + (Map<String, String>) changes.variables
        if (changes.folder) to.folder = (File) changes.folder
        if (changes.deadline) to.deadline = Math.min(to.deadline, (Long) changes.deadline)
        if (changes.givenUp) to.givenUp = to.givenUp + [(AtomicBoolean) changes.givenUp]
        if (changes.label) to.label = (String) changes.label
        return to
    }

    /** Throws if the time limit was exceeded or a parallel sibling failed. */
    void check() {
        if (givenUp.any { AtomicBoolean flag -> flag.get() }) {
            throw new Interrupted('aborted, because a parallel stage failed')
        }
        if (System.currentTimeMillis() >= deadline) throw new Interrupted('the time limit was exceeded')
    }
}

/** The build was interrupted from outside the step: its result is ABORTED. */
@CompileStatic
class Interrupted extends RuntimeException {
    Interrupted(String message) { super(message) }
}

/** A step failed: the result is FAILURE. */
@CompileStatic
class StepFailed extends RuntimeException {
    StepFailed(String message) { super(message) }
}

/** The Jenkinsfile or an option is invalid: nothing was run. */
@CompileStatic
class InvalidInput extends RuntimeException {
    InvalidInput(String message) { super(message) }
}
