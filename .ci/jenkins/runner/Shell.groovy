package runner

import groovy.transform.CompileStatic
import java.util.concurrent.TimeUnit

/** Runs scripts as Jenkins does, by `sh -xe`, each in a process group of its own. */
@CompileStatic
class Shell {
    private static final long TICK_MS = 50
    private static final long MERCY_SECONDS = 5

    private final Log log
    private final File scratch

    Shell(Log log, File scratch) {
        this.log = log
        this.scratch = scratch
    }

    /** Returns the exit status and, with `capture`, standard output; other output goes to the log. */
    Map<String, Object> run(String script, Map<String, String> variables, boolean capture) {
        Context context = Context.now()
        context.check()
        File file = File.createTempFile('step', '.sh', scratch)
        File pid = new File(file.path + '.pid')
        file.text = script.startsWith('#!') ? script : '#!/bin/sh -xe\n' + script
        file.setExecutable(true)
        // The script writes its process group id to a file, because this JVM has no public API for it.
        String noting = 'echo $$ >"$1.new" && mv "$1.new" "$1" && exec $2 "$3"'
        List<String> command = ['setsid', '--wait', 'sh', '-c', noting, 'sh', pid.path, interpreter(script), file.path]
        Process process = started(command, variables, context.folder, !capture)
        StringBuilder output = new StringBuilder()
        Thread out = pump(process.inputStream, context.label, capture ? output : null)
        Thread err = pump(process.errorStream, context.label, null)
        try {
            awaitEnd(process, context)
        } finally {
            // Processes that a script left running would keep its pipes open and block the build.
            endGroup(pid)
            [out, err].each { Thread thread -> thread.join(2000) }
            file.delete()
            pid.delete()
        }
        return [status: process.exitValue(), output: output.toString()] as Map<String, Object>
    }

    private static String interpreter(String script) {
        script.startsWith('#!') ? script.readLines()[0].substring(2).trim() : 'sh -xe'
    }

    private static Process started(List<String> command, Map<String, String> variables, File folder, boolean merge) {
        ProcessBuilder builder = new ProcessBuilder(command).directory(folder).redirectErrorStream(merge)
        builder.environment().putAll(variables)
        Process process = builder.start()
        process.outputStream.close()
        return process
    }

    private static void awaitEnd(Process process, Context context) {
        while (!process.waitFor(TICK_MS, TimeUnit.MILLISECONDS)) context.check()
    }

    private Thread pump(InputStream stream, String label, StringBuilder into) {
        return Thread.start {
            try {
                stream.eachLine { String line ->
                    if (into == null) log.line(line, label)
                    else into.append(line).append('\n')
                }
            } catch (IOException ended) {
                log.line("(output ended: ${ended.message})", label)
            }
        }
    }

    /** Sends SIGTERM to the process group, and SIGKILL if it does not exit in time. */
    private static void endGroup(File pidFile) {
        if (!pidFile.exists()) return
        String group = pidFile.text.trim()
        long end = System.currentTimeMillis() + MERCY_SECONDS * 1000
        signal('TERM', group)
        while (signal('0', group) && System.currentTimeMillis() < end) Thread.sleep(TICK_MS)
        signal('KILL', group)
    }

    private static boolean signal(String name, String group) {
        List<String> command = ['kill', '-' + name, '--', '-' + group]
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start()
        process.inputStream.text
        return process.waitFor() == 0
    }
}
