package testimages

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Environment variables that steer the package.
const (
	// EnvRequire set to 1 turns "skip: oracle absent" into a failure.
	EnvRequire = "E4KIT_REQUIRE_ORACLES"
	// EnvCorpus names the folder of damaged images; see [Corpus].
	EnvCorpus = "E4KIT_CORPUS"
	// EnvCache names a folder in which the test processes of one run share
	// the images they build. Whoever sets it removes the folder before and
	// after the run.
	EnvCache = "E4KIT_IMAGE_CACHE"
	// EnvBenchDir names the folder that keeps benchmark workloads.
	EnvBenchDir = "E4KIT_BENCH_DIR"
)

// Absent skips t for what is not there, or fails it where every oracle is demanded.
func Absent(t testing.TB, why string) {
	t.Helper()
	if os.Getenv(EnvRequire) == "1" {
		t.Fatalf("%s (and %s=1)", why, EnvRequire)
	}
	t.Skip(why)
}

// RequireTool skips t unless every named program is installed.
func RequireTool(t testing.TB, names ...string) {
	t.Helper()
	for _, n := range names {
		if _, err := tool(n); err != nil {
			Absent(t, "needs the program "+n+", which is not installed")
		}
	}
}

// RequireRoot skips t unless it runs as root.
func RequireRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		Absent(t, "needs root")
	}
}

// RequireLoop skips t unless the kernel can mount an ext4 image through a loop
// device here.
func RequireLoop(t testing.TB) {
	t.Helper()
	RequireRoot(t)
	RequireTool(t, "mke2fs", "e2fsck")
	if err := loopAvailable(); err != nil {
		Absent(t, "needs a loop mount of ext4: "+err.Error())
	}
}

// RequireFUSE skips t unless a FUSE file system can be mounted here.
func RequireFUSE(t testing.TB) {
	t.Helper()
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		Absent(t, "needs FUSE: "+err.Error())
		return
	}
	f.Close()
	if os.Geteuid() != 0 {
		RequireTool(t, "fusermount3")
	}
}

// Corpus returns the folder that holds the damaged images and their answers
// (index.json). It is no part of the repository, since its licence differs:
// the test is skipped unless E4KIT_CORPUS names the folder, and fails if it
// names one that does not exist.
func Corpus(t testing.TB) string {
	t.Helper()
	dir := os.Getenv(EnvCorpus)
	if dir == "" {
		t.Skip(EnvCorpus + " is not set: no corpus of damaged images")
	}
	for _, d := range []string{dir, filepath.Join(dir, "e2fsprogs")} {
		if _, err := os.Stat(filepath.Join(d, "index.json")); err == nil {
			return d
		}
	}
	t.Fatalf("%s=%s: no index.json there", EnvCorpus, dir)
	return ""
}

// tool finds a program, also where an unprivileged PATH does not look.
func tool(name string) (string, error) {
	p, err := exec.LookPath(name)
	if err == nil || strings.ContainsRune(name, '/') {
		return p, err
	}
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin"} {
		if p, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return p, nil
		}
	}
	return "", err
}
