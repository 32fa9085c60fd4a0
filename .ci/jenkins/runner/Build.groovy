package runner

/** One build: its options, variables and result. */
class Build {
    static final List<String> ORDER = ['SUCCESS', 'UNSTABLE', 'FAILURE', 'ABORTED']

    final Log log
    final Credentials credentials
    final Shell shell
    final File workspace
    final File archive
    final File scratch
    final Map options
    final Map<String, Object> params = [:]
    /** Variables set by `env.NAME = …`; `withEnv` and `environment` take precedence. */
    final Map<String, String> variables = Collections.synchronizedMap([:])
    String displayName
    String description
    private String worst = 'SUCCESS'

    Build(Map options, Log log) {
        this.options = options
        this.log = log
        workspace = folder(options.workspace)
        archive = folder(options.archive)
        scratch = File.createTempDir('jenkins-runner', '')
        credentials = new Credentials(options.credentials ? new File(options.credentials) : null, log)
        shell = new Shell(log, scratch)
        displayName = "#$options.number"
        variables << [
            BUILD_NUMBER: options.number, BUILD_ID: options.number, BUILD_URL: 'none',
            BUILD_TAG: "jenkins-$options.job-$options.number".toString(),
            JOB_NAME: options.job,
        ]
        if (options.multibranch) variables.BRANCH_NAME = options.multibranch
    }

    String getResult() { worst }

    /** A result can only become worse. */
    synchronized void setResult(String result) {
        if (!(result in ORDER)) throw new StepFailed("'$result' is not a build result")
        if (ORDER.indexOf(result) > ORDER.indexOf(worst)) worst = result
    }

    String getCurrentResult() { worst }

    int getNumber() { options.number as int }

    /** What a block has on an agent, and nothing has outside of one: a folder, and the variables of its node. */
    Map<String, Object> agent() {
        Map<String, String> ofNode = [WORKSPACE: workspace.path, WORKSPACE_TMP: scratch.path, NODE_NAME: 'built-in',
            EXECUTOR_NUMBER: '0', HOME: System.getenv('HOME') ?: '/']
        return [folder: workspace, variables: ofNode] as Map<String, Object>
    }

    static String resultOf(Throwable failure) { failure instanceof Interrupted ? 'ABORTED' : 'FAILURE' }

    private static File folder(String path) {
        File made = new File(path).canonicalFile
        made.mkdirs()
        return made
    }
}

/** `env`: reads the variables of the current block; an assignment lasts for the whole build. */
class Environment {
    private final Build build

    Environment(Build build) { this.build = build }

    Map<String, String> all() { new LinkedHashMap(build.variables) + (Context.now()?.variables ?: [:]) }

    def getProperty(String name) { all()[name] ?: System.getenv(name) }

    void setProperty(String name, Object value) { build.variables[name] = value as String }
}
