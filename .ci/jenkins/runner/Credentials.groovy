package runner

import groovy.json.JsonException
import groovy.json.JsonSlurper

/** The credentials of a JSON file: {"ID": {"kind": "text|file|password|ssh", "secret" | "path" | "user" …}}. */
class Credentials {
    private final Map<String, Map> known
    private final Log log

    Credentials(File file, Log log) {
        this.log = log
        try {
            known = file ? (Map) new JsonSlurper().parse(file) : [:]
        } catch (IOException | JsonException error) {
            throw new InvalidInput("--credentials $file: $error.message")
        }
    }

    /** The variables that `environment { NAME = credentials('id') }` defines. */
    Map<String, String> forEnvironment(String name, String id) {
        Map found = find(id)
        switch (found.kind) {
            case 'text': return hidden([(name): found.secret])
            case 'file': return [(name): found.path]
            case 'ssh': return [(name): found.path, (name + '_USR'): found.user]
            default:
                Map secrets = [(name): "$found.user:$found.secret".toString(), (name + '_PSW'): found.secret]
                return hidden(secrets) + [(name + '_USR'): found.user]
        }
    }

    /** The variables that one binding of `withCredentials` defines. */
    Map<String, String> forBinding(Map binding) {
        Map found = find(binding.credentialsId)
        if (found.kind != binding.kind) {
            throw new StepFailed("credential '$binding.credentialsId' is of kind $found.kind, not $binding.kind")
        }
        switch (binding.kind) {
            case 'text': return hidden([(binding.variable): found.secret])
            case 'file': return [(binding.variable): found.path]
            case 'ssh': return named([(binding.keyFileVariable): found.path, (binding.usernameVariable): found.user])
            default:
                return hidden([(binding.passwordVariable): found.secret]) + [(binding.usernameVariable): found.user]
        }
    }

    private Map find(String id) {
        if (!known.containsKey(id)) {
            throw new StepFailed("no credential with the id '$id' (known: ${known.keySet().join(', ') ?: 'none'})")
        }
        return known[id]
    }

    private Map<String, String> hidden(Map<String, String> values) {
        values.each { name, value -> log.hide(value) }
        return values
    }

    private static Map<String, String> named(Map<String, String> values) { values.findAll { it.key } }
}
