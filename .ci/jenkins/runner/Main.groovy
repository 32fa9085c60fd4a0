package runner

/** The command: runs a Jenkinsfile. Exit status 0 for SUCCESS, 1 for another result, 2 for invalid input. */
class Main {
    static final List<String> VALUES = ['file', 'scm', 'branch', 'workspace', 'archive', 'credentials', 'cause',
        'answer', 'number', 'multibranch']

    static void main(String[] arguments) {
        Log log = new Log(System.out)
        try {
            System.exit(carriedOut(options(arguments as List), log))
        } catch (InvalidInput invalid) {
            System.err.println("jenkins runner: $invalid.message")
            System.exit(2)
        }
    }

    private static int carriedOut(Map options, Log log) {
        String text = new File(options.file).getText('UTF-8')
        List<String> problems = new Grammar().check(text)
        if (problems) throw new InvalidInput("$options.file:\n  ${problems.join('\n  ')}")
        if (options.check) return 0
        Build build = new Build(options, log)
        try {
            new Pipeline(build, definition(text, build)).run()
        } finally {
            Files.empty(build.scratch)
            build.scratch.delete()
        }
        return build.result == 'SUCCESS' ? 0 : 1
    }

    private static Block definition(String text, Build build) {
        Block found = null
        Binding binding = new Binding()
        binding.setVariable('pipeline', { Closure body -> found = new Block('pipeline', body) })
        new GroovyShell(Main.classLoader, binding).evaluate(text, 'Jenkinsfile.groovy')
        return found
    }

    private static Map options(List<String> arguments) {
        Map options = [file: 'Jenkinsfile', scm: '.', branch: 'HEAD', cause: 'user', job: 'bakeoff',
            params: [:], only: [], skip: []]
        List<String> left = arguments.collect()
        while (left) {
            String name = left.remove(0)
            if (name == '--check') options.check = true
            else if (name == '--with-changes') options.changes = true
            else if (!left) throw new InvalidInput("$name is unknown or needs a value (--help)")
            else take(options, name, left.remove(0))
        }
        // On a first build Jenkins offers no parameters yet, so a build that has some is a later one.
        options.number = options.number ?: (options.params ? '2' : '1')
        if (options.number == '1' && options.params) {
            throw new InvalidInput('a first build (--number 1) takes no parameters: Jenkins does not know them yet')
        }
        if (options.cause == 'timer' && options.params) {
            throw new InvalidInput("a timer's build (--cause timer) takes no parameters: each has its default")
        }
        if (!options.check && !(options.workspace && options.archive)) {
            throw new InvalidInput('--workspace and --archive are required')
        }
        return options
    }

    private static void take(Map options, String name, String value) {
        String key = name - '--'
        if (name.startsWith('--') && key in VALUES) options[key] = value
        else if (name in ['--only', '--skip']) options[key] << value
        else if (name == '--param' && value.contains('=')) options.params[value.split('=')[0]] = value.split('=', 2)[1]
        else throw new InvalidInput("unknown option: $name $value (--help)")
    }
}
