package runner

import java.util.concurrent.atomic.AtomicBoolean

/** Runs a `pipeline`: its stages in order, then its `post` section. */
class Pipeline {
    private final Build build
    private final Steps steps
    private final Block definition
    private final Calls options
    private final List<Map> timings = Collections.synchronizedList([])

    Pipeline(Build build, Block definition) {
        this.build = build
        this.definition = definition
        steps = new Steps(build)
        options = new Calls(definition.sections.options as Closure)
    }

    /** Runs the pipeline; the result is in `build`. */
    void run() {
        build.log.timestamps = options.has('timestamps')
        new Parameters(build).take(new Calls(definition.sections.parameters as Closure))
        refuseUnknownNames()
        Context.within([variables: build.variables]) {
            new Calls(definition.sections.triggers as Closure, steps).made.each { Map trigger ->
                build.log.say("trigger: $trigger.name '${trigger.arguments[0]}'")
            }
            guarded('pipeline') {
                onAgent(definition, options) {
                    guarded('pipeline') { within(definition, options) { definition.stages.each { stage(it) } } }
                    post(definition, 'pipeline', build.result)
                }
            }
        }
        timings.each { build.log.say(String.format('%-44s %8.1f s  %s', it.name, it.seconds, it.result)) }
        build.log.say("Finished: $build.result")
    }

    private void refuseUnknownNames() {
        List<String> known = definition.stages.collectMany { it.names() }
        List<String> unknown = (build.options.only + build.options.skip) - known
        if (unknown) throw new InvalidInput("unknown stage ${unknown.join(', ')} (known: ${known.join(', ')})")
    }

    // --- stages ------------------------------------------------------------------------------------------------------

    private Object stage(Stage stage, boolean wantedByParent = false) {
        boolean named = wantedByParent || stage.name in build.options.only
        String reason = reasonToSkip(stage, named)
        if (reason) return skipped(stage, reason)
        long began = System.currentTimeMillis()
        build.log.say("stage: $stage.name")
        Calls limits = new Calls(stage.sections.options as Closure)
        String after = 'SUCCESS'
        boolean early = new Calls(stage.sections.when as Closure, steps).has('beforeAgent')
        if (early && !holds(stage)) return skipped(stage, 'its condition does not hold')
        onAgent(stage, limits) {
            boolean ran = true
            after = guarded(stage.name) { within(stage, limits) { ran = body(stage, named, early) } }
            if (ran) after = post(stage, stage.name, after)
        }
        timings << [name: stage.name, seconds: (System.currentTimeMillis() - began) / 1000.0d, result: after]
        Context.now().check()
        if (after in ['FAILURE', 'ABORTED'] && Context.now().label) throw new StepFailed("stage '$stage.name' failed")
    }

    private String reasonToSkip(Stage stage, boolean named) {
        List<String> only = build.options.only
        if (only && !named && !stage.names().any { it in only }) return 'not selected by --only'
        if (stage.name in build.options.skip) return 'excluded by --skip'
        if (build.result in ['FAILURE', 'ABORTED']) return 'an earlier stage failed'
        if (build.result == 'UNSTABLE' && options.has('skipStagesAfterUnstable')) return 'the build is unstable'
        return null
    }

    private boolean holds(Stage stage) { new Conditions(build, steps).hold(stage.sections.when as Closure) }

    /** Whether the stage ran: `post` is for those that did. `known`: its condition was found to hold. */
    private boolean body(Stage stage, boolean named, boolean known) {
        if (!known && !holds(stage)) {
            skipped(stage, 'its condition does not hold')
            return false
        }
        if (stage.parallel) sideBySide(stage, named)
        else stage.stages.each { this.stage(it, named) }
        if (stage.sections.steps) steps.script(stage.sections.steps as Closure)
        return true
    }

    private Object sideBySide(Stage stage, boolean named) {
        boolean failFast = stage.sections.failFast as boolean || options.has('parallelsAlwaysFailFast')
        Map branches = stage.stages.collectEntries { Stage each -> [(each.name): { this.stage(each, named) }] }
        steps.parallel([failFast: failFast] + branches)
    }

    private Object skipped(Stage stage, String reason) { build.log.say("stage: $stage.name: skipped, $reason") }

    // --- shared by pipelines and stages ------------------------------------------------------------------------------

    /** Runs the body on the agent that the block asks for, with the sources; without one where it asks for none. */
    private void onAgent(Block block, Calls limits, Closure body) {
        Object asked = block.sections.agent
        if (!asked || asked == 'none') {
            body.call()
            return
        }
        String label = asked instanceof Closure ? new Calls(asked as Closure, steps).argumentOf('label') : asked
        if (!label || label == 'null') throw new StepFailed("no agent has the label '$label'")
        build.log.say("agent: $label")
        Context.within(build.agent()) {
            if (!options.has('skipDefaultCheckout') && !limits.has('skipDefaultCheckout')) {
                build.variables.putAll(steps.checkout(steps.propertyMissing('scm') as Map))
            }
            body.call()
        }
    }

    /** Runs the body with the environment, time limit and retries of the options. */
    private void within(Block block, Calls limits, Closure body) {
        Map limit = limits.argumentOf('timeout') as Map
        Map changes = limit ? [deadline: Steps.deadline(limit)] : [:]
        Closure attempt = { Context.within([variables: variablesOf(block)]) { body.call() } }
        Context.within(changes) {
            if (limits.has('retry')) steps.retry(limits.argumentOf('retry')) { attempt.call() } else attempt.call()
        }
    }

    private Map<String, String> variablesOf(Block block) {
        Closure given = block.sections.environment as Closure
        if (!given) return [:]
        Assignments assignments = new Assignments(build, steps)
        given.delegate = assignments
        given.resolveStrategy = Closure.DELEGATE_ONLY
        given.call()
        return assignments.made
    }

    /** Runs the body and returns its result; the build's result becomes at least as bad. */
    private String guarded(String name, Closure body) {
        String before = build.result
        try {
            body.call()
            return build.result == before ? 'SUCCESS' : build.result
        } catch (InvalidInput invalid) {
            throw invalid
        } catch (Throwable failure) {
            build.log.say("$name failed: $failure.message")
            if (!(failure instanceof StepFailed || failure instanceof Interrupted)) failure.printStackTrace()
            build.result = Build.resultOf(failure)
            return Build.resultOf(failure)
        }
    }

    /** Runs the parts of `post` that match the result, `cleanup` last; returns the result, with failures in `post`. */
    private String post(Block block, String name, String result) {
        if (!block.sections.post) return result
        Map<String, Object> parts = new Block('post', block.sections.post as Closure).sections
        List<String> otherwise = result == 'SUCCESS' ? [] : ['unsuccessful']
        List<String> wanted = ['always', result.toLowerCase()] + otherwise + ['cleanup']
        List<String> results = [result]
        wanted.findAll { parts.containsKey(it) }.each { String part ->
            results << guarded("$name, post $part") { steps.script(parts[part] as Closure) }
        }
        return results.max { Build.ORDER.indexOf(it) }
    }
}

/** The assignments of an `environment` block; each may use those before it. */
class Assignments {
    final Map<String, String> made = [:]
    private final Build build
    private final Steps steps

    Assignments(Build build, Steps steps) {
        this.build = build
        this.steps = steps
    }

    void setProperty(String name, Object value) {
        if (value instanceof CredentialId) made.putAll(build.credentials.forEnvironment(name, value.id))
        else made[name] = value as String
    }

    def getProperty(String name) {
        if (name in ['made', 'build', 'steps']) return this.@"$name"
        return made.containsKey(name) ? made[name] : steps.propertyMissing(name)
    }

    CredentialId credentials(String id) { new CredentialId(id: id) }

    def sh(Map given) { Context.within([variables: made]) { steps.sh(given) } }
}

class CredentialId {
    String id
}
