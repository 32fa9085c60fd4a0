package runner

/** The sections of a `pipeline`, `stage` or other block, as its closure names them; nothing is executed here. */
class Block {
    final String kind
    final Map<String, Object> sections = [:]
    final List<Stage> stages = []

    Block(String kind, Closure body) {
        this.kind = kind
        body.delegate = this
        body.resolveStrategy = Closure.DELEGATE_ONLY
        body.call()
    }

    def methodMissing(String name, Object given) {
        List arguments = given as List
        if (!(name in Grammar.SECTIONS[kind])) throw new InvalidInput("'$name' is not allowed in '$kind'")
        if (name in ['stages', 'parallel']) stages.addAll(new StageList(arguments[0] as Closure).stages)
        sections[name] = arguments ? arguments[0] : true
    }

    /** Bare words: `agent any`. */
    def propertyMissing(String name) { name }
}

class Stage extends Block {
    final String name

    Stage(String name, Closure body) {
        super('stage', body)
        this.name = name
    }

    boolean isParallel() { sections.containsKey('parallel') }

    /** Its own name and the names of all stages within it. */
    List<String> names() { [name] + stages.collectMany { it.names() } }
}

class StageList {
    final List<Stage> stages = []

    StageList(Closure body) {
        body.delegate = this
        body.resolveStrategy = Closure.DELEGATE_ONLY
        body.call()
    }

    void stage(String name, Closure body) { stages << new Stage(name, body) }
}

/** The calls of an `options`, `parameters`, `triggers` or other block: name and arguments of each, in order. */
class Calls {
    final List<Map> made = []
    private final Steps steps

    /** `steps` has the values of `env` and `params`, where the block may use them. */
    Calls(Closure body, Steps steps = null) {
        this.steps = steps
        if (!body) return
        body.delegate = this
        body.resolveStrategy = Closure.DELEGATE_ONLY
        body.call()
    }

    def methodMissing(String name, Object given) {
        Map call = [name: name, arguments: given as List]
        made << call
        return call
    }

    def propertyMissing(String name) {
        if (!steps) throw new MissingPropertyException(name, Calls)
        return steps.propertyMissing(name)
    }

    Object argumentOf(String name) { made.find { it.name == name }?.arguments?.getAt(0) }

    boolean has(String name) { made.any { it.name == name } }
}
