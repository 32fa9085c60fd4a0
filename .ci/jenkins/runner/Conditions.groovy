package runner

/** The conditions of a `when` block. */
class Conditions {
    private static final Map<String, String> CAUSES = [timer: 'TimerTrigger', scm: 'SCMTrigger', user: 'UserIdCause']
    private final Build build
    private final Steps steps
    private List<Boolean> found = []

    Conditions(Build build, Steps steps) {
        this.build = build
        this.steps = steps
    }

    /** Whether all conditions of the block hold; true if there is no block. */
    boolean hold(Closure body) { !body || collected(body).every() }

    void expression(Closure body) {
        Closure bound = body.rehydrate(steps, body.owner, body.thisObject)
        bound.resolveStrategy = Closure.DELEGATE_FIRST
        found << (bound.call() as boolean)
    }

    void branch(String name) { found << (build.variables.BRANCH_NAME == name) }

    void environment(Map given) { found << (new Environment(build).all()[given.name] == given.value as String) }

    void triggeredBy(String cause) { found << (CAUSES[build.options.cause] == cause) }

    void not(Closure body) { found << !collected(body).every() }

    void allOf(Closure body) { found << collected(body).every() }

    void anyOf(Closure body) { found << collected(body).any() }

    void beforeAgent(boolean early) { }

    void beforeInput(boolean early) { }

    def propertyMissing(String name) { steps.propertyMissing(name) }

    private List<Boolean> collected(Closure body) {
        Conditions inner = new Conditions(build, steps)
        Closure bound = body.rehydrate(inner, inner, body.thisObject)
        bound.resolveStrategy = Closure.DELEGATE_ONLY
        bound.call()
        return inner.found
    }
}

/** The values of the declared parameters: the given ones, else the defaults. */
class Parameters {
    private final Build build

    Parameters(Build build) { this.build = build }

    /**
     * Fills `params`, and except in a job's first build the environment: Jenkins learns the parameters from that build
     * (JENKINS-41929). Throws `InvalidInput` for an undeclared name or choice.
     */
    void take(Calls declared) {
        Map<String, String> given = build.options.params as Map
        List<Map> known = declared.made.collect { Map call -> [kind: call.name] + (call.arguments[0] as Map) }
        List<String> unknown = (given.keySet() - known*.name) as List
        if (unknown) {
            throw new InvalidInput("unknown parameter ${unknown.join(', ')} (known: ${known*.name.join(', ')})")
        }
        known.each { Map parameter ->
            build.params[parameter.name] = value(parameter, given)
            if (build.number > 1) build.variables[parameter.name] = build.params[parameter.name] as String
        }
    }

    private Object value(Map parameter, Map<String, String> given) {
        Object chosen = given.containsKey(parameter.name) ? given[parameter.name] : parameter.defaultValue
        switch (parameter.kind) {
            case 'booleanParam': return chosen as String == 'true'
            case 'choice':
                def listed = parameter.choices
                List choices = listed instanceof List ? listed : (listed as String).readLines()
                if (chosen == null) return choices[0]
                if (!(chosen in choices)) {
                    throw new InvalidInput("$parameter.name: '$chosen' is not one of ${choices.join(', ')}")
                }
                return chosen
            case 'password':
                if (chosen) build.log.hide(chosen as String)
                return chosen ?: ''
            default: return chosen == null ? '' : chosen as String
        }
    }
}
