package extract_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// runChild runs the test again in a process of its own, which may give its
// privileges away.
func runChild(t *testing.T) {
	t.Helper()
	img := mkfsTree(t, func(dir string) {
		write(t, filepath.Join(dir, "suid"), "x")
		must(t, chmod(filepath.Join(dir, "suid"), 0o4755))
		must(t, os.Mkdir(filepath.Join(dir, "ro"), 0o755))
		write(t, filepath.Join(dir, "ro", "f"), "x")
		must(t, chmod(filepath.Join(dir, "ro"), 0o555))
		t.Cleanup(func() { chmod(filepath.Join(dir, "ro"), 0o755) })
	})
	top, err := os.MkdirTemp("", "e4kit-child-")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(top) })
	must(t, chmod(top, 0o777))
	must(t, os.WriteFile(filepath.Join(top, "img"), img, 0o644))
	program := filepath.Join(top, "test")
	data, err := os.ReadFile(os.Args[0])
	must(t, err)
	must(t, os.WriteFile(program, data, 0o755))
	cmd := exec.Command(program, "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Dir = top
	cmd.Env = append(os.Environ(), "E4KIT_TEST_CHILD="+filepath.Join(top, "img"), "E4KIT_TEST_DEST="+top)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
