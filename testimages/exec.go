package testimages

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// run starts a program and returns what it printed on both outputs. The error
// holds the command line and that output.
func run(name string, args ...string) (string, error) {
	return runInput("", name, args...)
}

func runInput(stdin, name string, args ...string) (string, error) {
	path, err := tool(name)
	if err != nil {
		return "", err
	}
	cmd := exec.Command(path, args...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC", "E2FSCK_CONFIG=/dev/null", "DEBUGFS_PAGER=cat", "PAGER=cat")
	if name == "mke2fs" {
		conf, err := mkfsConf()
		if err != nil {
			return "", err
		}
		cmd.Env = append(cmd.Env, "MKE2FS_CONFIG="+conf)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, tail(out.String(), 4000))
	}
	return out.String(), nil
}

// tail cuts s to its last n bytes.
func tail(s string, n int) string {
	s = strings.TrimSpace(s)
	if len(s) > n {
		s = "..." + s[len(s)-n:]
	}
	return s
}

// exitCode tells the exit status behind err, 0 for nil, -1 for anything that
// is no exit.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	if e := new(exec.ExitError); errors.As(err, &e) {
		return e.ExitCode()
	}
	return -1
}

// Run runs a program and returns its output; a failure is fatal for t.
func Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := run(name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Check asks "e2fsck -fn" about img: nil means that it exits with 0.
func Check(img string) error {
	args := []string{"-fn", img}
	if journal := JournalOf(img); exists(journal) {
		args = []string{"-fn", "-j", journal, img}
	}
	_, err := run("e2fsck", args...)
	return err
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// Fsck fails t unless e2fsck calls img clean.
func Fsck(t testing.TB, img string) {
	t.Helper()
	RequireTool(t, "e2fsck")
	if err := Check(img); err != nil {
		t.Fatal(err)
	}
}

// orphansLeft is what "e2fsck -fn" says of inodes that were deleted and not freed,
// and nothing else.
var orphansLeft = regexp.MustCompile(`^(Deleted inode \d+ has zero dtime\.|(Inode|Block) bitmap differences: |Free (inodes|blocks) count wrong|` +
	`(Fix\? no)?$|Pass \d|e2fsck |.*(\*\* WARNING: Filesystem still has errors \*\*|files \(.* blocks$))`)

// FsckAborted is Fsck for an image whose journal was aborted and which was opened
// again since: as in Linux, orphans are not trusted after an error, and wait for a
// check, which has to find nothing else.
func FsckAborted(t testing.TB, img string) {
	t.Helper()
	RequireTool(t, "e2fsck")
	out, err := exec.Command("e2fsck", "-fn", img).CombinedOutput()
	if err == nil {
		return
	}
	sound := strings.Contains(string(out), "zero dtime")
	for line := range strings.Lines(string(out)) {
		sound = sound && orphansLeft.MatchString(strings.TrimSpace(line))
	}
	if !sound {
		t.Fatalf("e2fsck -fn: %v\n%s", err, out)
	}
	const mended = 1
	var exit *exec.ExitError
	if out, err := exec.Command("e2fsck", "-fy", img).CombinedOutput(); err != nil && !(errors.As(err, &exit) && exit.ExitCode() == mended) {
		t.Fatalf("e2fsck -fy: %v\n%s", err, out)
	}
	Fsck(t, img)
}

// RunDebugfs runs debugfs commands on img, opened read-write if write is set,
// and returns what debugfs printed for them, without its banner and echo.
func RunDebugfs(img string, write bool, commands ...string) (string, error) {
	args := []string{"-f", "-", img}
	if write {
		args = append([]string{"-w"}, args...)
	}
	out, err := runInput(strings.Join(commands, "\n")+"\n", "debugfs", args...)
	if err != nil {
		return out, err
	}
	if write {
		distrust(img)
	}
	var b strings.Builder
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "debugfs: ") && !strings.HasPrefix(line, "debugfs 1.") {
			b.WriteString(line)
		}
	}
	return b.String(), nil
}

// Debugfs runs read-only debugfs commands on img and returns their output.
func Debugfs(t testing.TB, img string, commands ...string) string {
	t.Helper()
	return debugfs(t, img, false, commands)
}

// DebugfsWrite runs debugfs commands on img opened for writing. debugfs exits
// with 0 whatever its commands did, so look at the output or at the image.
func DebugfsWrite(t testing.TB, img string, commands ...string) string {
	t.Helper()
	return debugfs(t, img, true, commands)
}

func debugfs(t testing.TB, img string, write bool, commands []string) string {
	t.Helper()
	RequireTool(t, "debugfs")
	out, err := RunDebugfs(img, write, commands...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
