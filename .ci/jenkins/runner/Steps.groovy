package runner

import java.util.concurrent.atomic.AtomicBoolean

/** The steps a Jenkinsfile may use: each public method is one. */
class Steps {
    private final Build build
    private final Map<String, File> stashes = Collections.synchronizedMap([:])

    Steps(Build build) { this.build = build }

    // --- properties --------------------------------------------------------------------------------------------------

    def propertyMissing(String name) {
        switch (name) {
            case 'params': return build.params
            case 'env': return new Environment(build)
            case 'currentBuild': return build
            case 'scm': return [userRemoteConfigs: [[url: build.options.scm]], branches: [[name: build.options.branch]]]
            default:
                Map<String, String> all = new Environment(build).all()
                if (all.containsKey(name)) return all[name]
                throw new MissingPropertyException(name, Steps)
        }
    }

    // --- scripts -----------------------------------------------------------------------------------------------------

    def sh(String script) { sh(script: script) }

    def sh(Map given) {
        build.log.say("sh${given.label ? ": $given.label" : ''}")
        Map variables = new Environment(build).all()
        here()
        Map result = build.shell.run(given.script as String, variables, given.returnStdout as boolean)
        if (given.returnStatus) return result.status
        if (result.status != 0) throw new StepFailed("script returned exit code $result.status")
        return given.returnStdout ? result.output : null
    }

    def script(Closure body) { inside(body) }

    void echo(Object message) { build.log.line(message as String, Context.now().label) }

    void error(String message) { throw new StepFailed(message) }

    void unstable(String message) {
        echo "UNSTABLE: $message"
        build.result = 'UNSTABLE'
    }

    boolean isUnix() { true }

    // --- files -------------------------------------------------------------------------------------------------------

    def dir(String path, Closure body) {
        File folder = file_(path)
        folder.mkdirs()
        inside(body, [folder: folder])
    }

    String pwd() { here().path }

    boolean fileExists(String path) { file_(path).exists() }

    String readFile(Object given) { file_(given instanceof Map ? given.file : given as String).getText('UTF-8') }

    void writeFile(Map given) {
        File target = file_(given.file)
        target.parentFile.mkdirs()
        target.setText(given.text, 'UTF-8')
    }

    void deleteDir() { Files.empty(here()) }

    void cleanWs() {
        here()
        Files.empty(build.workspace)
    }

    void stash(Map given) {
        File store = new File(build.scratch, "stash-$given.name")
        stashes[given.name] = store
        Files.copy(here(), some(given.includes ?: '**', given.allowEmpty, "stash '$given.name'"), store)
    }

    void unstash(String name) {
        if (!stashes.containsKey(name)) throw new StepFailed("nothing was stashed as '$name'")
        if (stashes[name].exists()) Files.copy(stashes[name], Files.matching(stashes[name], '**'), here())
    }

    def archiveArtifacts(String artifacts) { archiveArtifacts(artifacts: artifacts) }

    void archiveArtifacts(Map given) {
        List<String> paths = some(given.artifacts, given.allowEmptyArchive, 'archiveArtifacts')
        Files.copy(here(), paths, build.archive)
        build.log.say("archived ${paths.size()} files: ${paths.take(12).join(', ')}${paths.size() > 12 ? ' …' : ''}")
    }

    def junit(String results) { junit(testResults: results) }

    /** Counts the tests of JUnit reports; a failed test makes the build unstable. */
    void junit(Map given) {
        List<String> paths = some(given.testResults, given.allowEmptyResults, 'junit')
        List<Node> tests = paths.collectMany { testcases(file_(it)) }
        int failed = tests.count { test ->
            test.children().any { it instanceof Node && it.name() in ['failure', 'error'] }
        }
        build.log.say("junit: ${tests.size()} tests, $failed failed")
        if (!tests && !given.allowEmptyResults) throw new StepFailed("junit: no test in $given.testResults")
        if (failed) unstable("$failed of ${tests.size()} tests failed")
    }

    // --- blocks ------------------------------------------------------------------------------------------------------

    def retry(Object given, Closure body) {
        int times = (given instanceof Map ? given.count : given) as int
        for (int attempt = 1; ; attempt++) {
            try {
                return inside(body)
            } catch (StepFailed | IOException failure) {
                if (attempt >= times) throw failure
                build.log.say("attempt $attempt of $times failed: $failure.message")
            }
        }
    }

    /** A block on an agent, with the workspace as it is left there. */
    def node(String label = 'any', Closure body) {
        if (!label) throw new StepFailed("no agent has the label '$label'")
        inside(body, build.agent())
    }

    def timeout(Map given, Closure body) { inside(body, [deadline: deadline(given)]) }

    def withEnv(List<String> assignments, Closure body) {
        inside(body, [variables: assignments.collectEntries { String each -> each.split('=', 2) as List }])
    }

    def withCredentials(List<Map> bindings, Closure body) {
        inside(body, [variables: bindings.collectEntries { build.credentials.forBinding(it) }])
    }

    Map string(Map given) { [kind: 'text'] + given }

    Map file(Map given) { [kind: 'file'] + given }

    Map usernamePassword(Map given) { [kind: 'password'] + given }

    Map sshUserPrivateKey(Map given) { [kind: 'ssh'] + given }

    def catchError(Map given = [:], Closure body) {
        try {
            return inside(body)
        } catch (StepFailed | IOException failure) {
            build.log.say("caught: $failure.message")
            build.result = given.buildResult ?: 'FAILURE'
        }
        return null
    }

    def warnError(String message, Closure body) {
        catchError(buildResult: 'UNSTABLE') { inside(body) }
    }

    /** Runs branches in parallel; with `failFast` the first failure aborts the others. */
    void parallel(Map given) {
        boolean failFast = given.failFast as boolean
        List<Throwable> failures = Collections.synchronizedList([])
        AtomicBoolean giveUp = new AtomicBoolean(false)
        Context outside = Context.now()
        List<Thread> threads = given.findAll { it.value instanceof Closure }.collect { name, body ->
            Thread.start {
                Context.within([variables: outside.variables, folder: outside.folder, deadline: outside.deadline,
                    label: name as String, givenUp: giveUp]) {
                    try {
                        outside.check()
                        inside(body as Closure)
                    } catch (Throwable failure) {
                        failures << failure
                        build.log.line("failed: $failure.message", name as String)
                        if (failFast) giveUp.set(true)
                    }
                }
            }
        }
        threads*.join()
        if (failures) throw failures.find { !(it instanceof Interrupted) } ?: failures[0]
    }

    /** The answer to an `input` step: that of --answer; without it the step fails. */
    void input(Object given) {
        String message = given instanceof Map ? given.message : given
        build.log.say("input: $message${Context.now().folder ? ' (an agent waits too)' : ''}")
        if (build.options.answer == 'reject') throw new Interrupted("rejected: $message")
        if (build.options.answer != 'approve') {
            throw new StepFailed("no answer to the input '$message' (--answer approve|reject)")
        }
    }

    /** Checks out the sources: `checkout scm`, or GitSCM with a branch. Returns what it found; `env` stays as it is. */
    Map<String, String> checkout(Map given) {
        String branch = given.branches ? given.branches[0].name : build.options.branch
        new Source(build.options, build.shell).into(here(), branch - ~/^(\*|origin|refs\/heads)\//)
        String commit = sh(script: 'git rev-parse HEAD', returnStdout: true)
        return [GIT_BRANCH: branch as String, GIT_COMMIT: commit.trim()]
    }

    // --- internals ---------------------------------------------------------------------------------------------------

    private static File here() {
        File folder = Context.now().folder
        if (!folder) throw new StepFailed('this step needs a workspace, which only an agent has: surround it with node')
        return folder
    }

    private Object inside(Closure body, Map changes = [:]) {
        Context.now().check()
        Closure bound = body.rehydrate(this, body.owner, body.thisObject)
        bound.resolveStrategy = Closure.DELEGATE_FIRST
        return Context.within(changes) { bound.call() }
    }

    static long deadline(Map given) {
        Map<String, Long> units = [SECONDS: 1000L, MINUTES: 60000L, HOURS: 3600000L, MILLISECONDS: 1L]
        return System.currentTimeMillis() + (given.time as long) * units[(given.unit ?: 'MINUTES') as String]
    }

    private static List<Node> testcases(File report) {
        new XmlParser(false, false).parse(report).depthFirst().findAll { it instanceof Node && it.name() == 'testcase' }
    }

    private File file_(String path) {
        File plain = new File(path)
        return plain.absolute ? plain : new File(here(), path)
    }

    private List<String> some(String patterns, Object mayBeNone, String who) {
        List<String> found = Files.matching(here(), patterns)
        if (!found && !mayBeNone) throw new StepFailed("$who: no file matches '$patterns'")
        return found
    }
}
