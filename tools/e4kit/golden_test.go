package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/e4kit/e4kit/testimages"
)

var update = flag.Bool("update", false, "write the golden files anew")

// world is a run of the program without a process.
type world struct {
	stdin          string
	env            map[string]string
	outTTY, errTTY bool
	columns        int
	ctx            context.Context
}

// result is what a run gave.
type result struct {
	stdout, stderr string
	code           int
}

// run runs the program with a fixed clock in UTC.
func (w world) run(args ...string) result {
	var stdout, stderr bytes.Buffer
	ctx := w.ctx
	if ctx == nil {
		ctx = context.Background()
	}
	e := newTestEnv(ctx, strings.NewReader(w.stdin), &stdout, &stderr)
	e.getenv = func(name string) string { return w.env[name] }
	e.outTTY, e.errTTY = w.outTTY, w.errTTY
	if w.columns != 0 {
		e.columns = w.columns
	}
	code := run(e, args)
	return result{stdout.String(), stderr.String(), code}
}

// newTestEnv is an env with a fixed clock in UTC.
func newTestEnv(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) *env {
	return &env{
		ctx: ctx, stdin: stdin, stdout: stdout, stderr: stderr,
		getenv: func(string) string { return "" },
		now:    func() time.Time { return time.Date(2026, 12, 24, 18, 0, 0, 0, time.UTC) },
		local:  time.UTC, columns: 80,
	}
}

// e4kit runs the program.
func e4kit(args ...string) result { return world{}.run(args...) }

// String is the form of the golden files.
func (r result) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "exit %d\n", r.code)
	for _, part := range []struct{ name, text string }{{"stdout", r.stdout}, {"stderr", r.stderr}} {
		if part.text == "" {
			continue
		}
		fmt.Fprintf(&b, "-- %s --\n%s", part.name, part.text)
		if !strings.HasSuffix(part.text, "\n") {
			b.WriteString("\\ no newline at the end\n")
		}
	}
	return b.String()
}

// demo unpacks the demo image once for all tests.
var demo = sync.OnceValues(func() (string, error) {
	dir, err := testimages.DemoPath()
	if err != nil {
		return "", err
	}
	in, err := os.Open(filepath.Join(dir, testimages.DemoImage))
	if err != nil {
		return "", err
	}
	defer in.Close()
	z, err := gzip.NewReader(in)
	if err != nil {
		return "", err
	}
	data, err := io.ReadAll(z)
	if err != nil {
		return "", err
	}
	out, err := os.MkdirTemp("", "e4kit-demo-")
	if err != nil {
		return "", err
	}
	demoDir = out
	manifest, err := os.ReadFile(filepath.Join(dir, testimages.DemoManifest))
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(out, testimages.DemoManifest), manifest, 0o644); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(out, "text"), []byte(strings.Repeat("no file system\n", 300)), 0o644); err != nil {
		return "", err
	}
	return out, os.WriteFile(filepath.Join(out, "demo.img"), data, 0o644)
})

var demoDir string

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if demoDir != "" {
		os.RemoveAll(demoDir)
	}
	os.Exit(code)
}

// inDemo makes the folder with demo.img the current one.
func inDemo(t *testing.T) {
	t.Helper()
	dir, err := demo()
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
}

// checkGolden compares with testdata/golden/NAME.txt of the folder home.
func checkGolden(t *testing.T, home, name, got string) {
	t.Helper()
	path := filepath.Join(home, "testdata", "golden", name+".txt")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (run the test with -update once)", err)
	}
	if got != string(want) {
		t.Errorf("output differs from %s; run with -update if that is right\ngot:\n%s\nwant:\n%s", path, got, want)
	}
}

func TestGolden(t *testing.T) {
	home, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	inDemo(t)
	for _, tt := range goldenCases {
		t.Run(tt.name, func(t *testing.T) {
			w := tt.world
			checkGolden(t, home, tt.name, w.run(tt.args...).String())
		})
	}
}
