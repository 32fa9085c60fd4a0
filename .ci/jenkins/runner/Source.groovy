package runner

/** The sources for `checkout`: a clone of a repository on this machine. */
class Source {
    private final Map options
    private final Shell shell

    Source(Map options, Shell shell) {
        this.options = options
        this.shell = shell
    }

    /** Empties the folder and clones into it; --with-changes adds uncommitted changes. */
    void into(File folder, String branch) {
        Files.empty(folder)
        Map variables = [SCM: options.scm as String, WANTED: branch]
        // Finds an unpushed branch or a detached HEAD by its commit.
        run('git clone --quiet --no-checkout "file://$(realpath "$SCM")" .\n' +
            'git fetch --quiet origin "+HEAD:refs/remotes/origin/scm-head"\n' +
            'git checkout --quiet --detach "origin/$WANTED" || git checkout --quiet --detach "$WANTED"', variables)
        if (options.changes) {
            run('(cd "$SCM" && git ls-files -z --deleted) | xargs -0r rm -f --\n' +
                '(cd "$SCM" && git ls-files -z --modified --others --exclude-standard | ' +
                'while IFS= read -r -d "" path; do [ ! -e "$path" ] || printf "%s\\0" "$path"; done | ' +
                'tar --null --no-recursion -T - -cf -) | tar -xf -', variables, '#!/bin/bash -eo pipefail\n')
        }
    }

    private void run(String script, Map variables, String interpreter = '') {
        if (shell.run(interpreter + script, variables, false).status != 0) {
            throw new StepFailed("checkout: '$options.scm' could not be cloned at '$variables.WANTED'")
        }
    }
}
