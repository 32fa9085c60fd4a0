package runner

import groovy.transform.CompileStatic
import java.nio.file.Files as Nio
import java.nio.file.Path
import java.nio.file.StandardCopyOption
import java.util.stream.Stream

/** Files of a workspace by Ant patterns: `*` and `?` within a name, `**` across folders. */
@CompileStatic
class Files {
    /** The paths below the folder that match one of the comma-separated patterns; relative and sorted. */
    static List<String> matching(File folder, String patterns) {
        List<String> expressions = patterns.split(',').collect { String pattern -> expression(pattern.trim()) }
        List<String> found = []
        Path top = folder.toPath()
        inside(folder).each { Path path ->
            String relative = top.relativize(path).toString()
            if (Nio.isRegularFile(path) && expressions.any { String each -> relative ==~ each }) found << relative
        }
        return found.sort()
    }

    static void copy(File from, List<String> paths, File to) {
        paths.each { String relative ->
            Path target = to.toPath().resolve(relative)
            Nio.createDirectories(target.parent)
            Nio.copy(from.toPath().resolve(relative), target, StandardCopyOption.REPLACE_EXISTING,
                StandardCopyOption.COPY_ATTRIBUTES)
        }
    }

    /** Deletes the folder's content without following links. */
    static void empty(File folder) {
        inside(folder).reverse().each { Path path -> Nio.deleteIfExists(path) }
    }

    private static List<Path> inside(File folder) {
        List<Path> found = []
        Stream<Path> walk = Nio.walk(folder.toPath())
        try {
            Iterator<Path> paths = walk.skip(1).iterator()
            while (paths.hasNext()) found.add(paths.next())
        } finally {
            walk.close()
        }
        return found
    }

    private static String expression(String pattern) {
        String whole = pattern.endsWith('/') ? pattern + '**' : pattern
        StringBuilder built = new StringBuilder()
        (whole =~ /\*\*\/|\*\*|\*|\?|[^*?]+/).each { Object part ->
            switch (part as String) {
                case '**/': built << '(?:.*/)?'; break
                case '**': built << '.*'; break
                case '*': built << '[^/]*'; break
                case '?': built << '[^/]'; break
                default: built << java.util.regex.Pattern.quote(part as String)
            }
        }
        return built.toString()
    }
}
