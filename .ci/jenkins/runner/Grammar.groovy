package runner

import org.codehaus.groovy.ast.ASTNode
import org.codehaus.groovy.ast.CodeVisitorSupport
import org.codehaus.groovy.ast.builder.AstBuilder
import org.codehaus.groovy.ast.expr.ClosureExpression
import org.codehaus.groovy.ast.expr.Expression
import org.codehaus.groovy.ast.expr.MethodCallExpression
import org.codehaus.groovy.ast.expr.TupleExpression
import org.codehaus.groovy.ast.stmt.BlockStatement
import org.codehaus.groovy.ast.stmt.ExpressionStatement
import org.codehaus.groovy.ast.stmt.Statement
import org.codehaus.groovy.control.CompilationFailedException
import org.codehaus.groovy.control.CompilePhase

/** Checks a Jenkinsfile on its syntax tree, so that stages that will not run are checked too. */
class Grammar {
    static final Map<String, List<String>> SECTIONS = [
        pipeline: ['agent', 'options', 'parameters', 'triggers', 'environment', 'stages', 'post'],
        stage: ['agent', 'options', 'environment', 'when', 'steps', 'stages', 'parallel', 'failFast', 'post', 'input'],
        options: ['timeout', 'timestamps', 'disableConcurrentBuilds', 'buildDiscarder', 'logRotator', 'retry',
            'skipDefaultCheckout', 'skipStagesAfterUnstable', 'parallelsAlwaysFailFast', 'disableResume'],
        parameters: ['string', 'text', 'booleanParam', 'choice', 'password'],
        triggers: ['cron', 'pollSCM', 'upstream'],
        when: ['expression', 'branch', 'environment', 'triggeredBy', 'not', 'allOf', 'anyOf', 'beforeAgent',
            'beforeInput'],
        post: ['always', 'success', 'failure', 'unstable', 'aborted', 'unsuccessful', 'cleanup'],
    ]
    private static final List<String> STRUCTURE = ['pipeline', 'stage', 'label', 'credentials', 'expression'] +
        SECTIONS.values().flatten()
    private final List<String> problems = []
    private final Set<String> steps = Steps.metaClass.methods.findAll {
        it.declaringClass.theClass == Steps && it.public
    }*.name as Set

    /** The problems, each with its line; empty for a valid Jenkinsfile. */
    List<String> check(String text) {
        List<ASTNode> nodes
        try {
            nodes = new AstBuilder().buildFromString(CompilePhase.CONVERSION, false, text)
        } catch (CompilationFailedException error) {
            return [error.message]
        }
        MethodCallExpression pipeline = calls(nodes[0] as BlockStatement).find { it.methodAsString == 'pipeline' }
        if (!pipeline) return ['there is no pipeline block']
        block('pipeline', pipeline)
        everyCallIsKnown(nodes[0])
        return problems.unique()
    }

    private void block(String kind, MethodCallExpression call) {
        List<MethodCallExpression> inside = calls(body(call))
        require(call, kind in ['pipeline', 'stage'] ? inside*.methodAsString : null, kind)
        inside.each { MethodCallExpression each ->
            String name = each.methodAsString
            if (!(name in SECTIONS[kind])) report(each, "'$name' is not allowed in '$kind'")
            else if (name in ['stages', 'parallel']) stages(each)
            else if (name == 'steps') onlySteps(each)
            else if (kind == 'post') onlySteps(each)
            else if (SECTIONS.containsKey(name) && kind in ['pipeline', 'stage']) block(name, each)
        }
    }

    private void require(MethodCallExpression call, List<String> names, String kind) {
        if (names == null) return
        if (kind == 'pipeline') {
            (['agent', 'stages'] - names).each { report(call, "'pipeline' needs '$it'") }
        } else if (names.count { it in ['steps', 'stages', 'parallel'] } != 1) {
            report(call, "a stage needs exactly one of 'steps', 'stages' and 'parallel'")
        }
        (names as Set).findAll { name -> names.count(name) > 1 }.each { report(call, "'$it' is defined twice") }
    }

    private void stages(MethodCallExpression list) {
        List<MethodCallExpression> inside = calls(body(list))
        if (!inside) report(list, "'$list.methodAsString' has no stage")
        inside.each {
            if (it.methodAsString == 'stage') block('stage', it)
            else report(it, "'$it.methodAsString' is not a stage")
        }
    }

    /** Declarative steps are calls; conditions, loops and variables are allowed in `script` only. */
    private void onlySteps(MethodCallExpression section) {
        body(section)?.statements?.each { Statement statement ->
            Object said = statement instanceof ExpressionStatement ? statement.expression : null
            if (!(said instanceof MethodCallExpression)) {
                report(statement, "'$section.methodAsString' may contain steps only; put other code into 'script'")
            }
        }
    }

    private void everyCallIsKnown(ASTNode tree) {
        Set<String> known = steps + STRUCTURE
        tree.visit(new CodeVisitorSupport() {
            @Override
            void visitMethodCallExpression(MethodCallExpression call) {
                if (call.implicitThis && !(call.methodAsString in known)) {
                    report(call, "unknown step '$call.methodAsString'")
                }
                super.visitMethodCallExpression(call)
            }
        })
    }

    private static List<MethodCallExpression> calls(BlockStatement block) {
        List<Statement> statements = block ? block.statements.findAll { it instanceof ExpressionStatement } : []
        return statements*.expression.findAll { it instanceof MethodCallExpression }
    }

    private static BlockStatement body(MethodCallExpression call) {
        Expression arguments = call.arguments
        List<Expression> given = arguments instanceof TupleExpression ? arguments.expressions : []
        ClosureExpression closure = given.find { it instanceof ClosureExpression }
        return closure?.code as BlockStatement
    }

    private void report(ASTNode where, String what) { problems << "line $where.lineNumber: $what".toString() }
}
