package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/testimages"
)

// A mount that takes no more changes says so at once, and why.
func TestMount_abortIsLogged(t *testing.T) {
	testimages.RequireRoot(t) // to shut a file system down
	testimages.RequireFUSE(t)
	testimages.RequireTool(t, "mke2fs", "e2fsck")
	l := newMountLab(t, program(t))
	file := filepath.Join(t.TempDir(), "log")
	l.must("mount", "--log-file", file, l.img, l.dir)
	if err := testimages.Shutdown(l.dir); err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	said := ""
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, "nothing can be changed any more") {
			said += line
		}
	}
	if !strings.Contains(said, "level=ERROR") || !strings.Contains(said, "was shut down") || strings.Count(said, "\n") != 1 {
		t.Errorf("the log says %q of\n%s", said, log)
	}
}
