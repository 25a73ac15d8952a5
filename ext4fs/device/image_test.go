package device

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

func writeFile(t testing.TB, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOpen_partitionInContainer(t *testing.T) {
	b := gptDisk(512)
	for _, format := range []string{"", "gzip", androidFormat} {
		packed := b
		if format != "" {
			packed = compress(t, format, b)
		}
		path := writeFile(t, packed)
		m, err := Open(path, Options{MemoryBytes: -1, TempDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		testReads(t, m, b[2*mib:6*mib])
		p, ok := m.Partition()
		if !ok || p.Number != 2 || m.Offset() != 2*mib || m.Disk().Size() != 8*mib {
			t.Errorf("%q: partition %v, offset %d, disk of %d", format, p, m.Offset(), m.Disk().Size())
		}
		if m.Path() != path || m.BlockDevice() || !m.Locked() || strings.Join(m.Containers(), " ") != format {
			t.Errorf("%q: path %s, locked %v, containers %v", format, m.Path(), m.Locked(), m.Containers())
		}
		// All of these lie in some host file, the plain one at its own place.
		f, at, n := m.HostRange(1000, 4000)
		if f == nil || n != 4000 || (format == "" && at != 2*mib+1000) {
			t.Errorf("%q: range of %d at %d", format, n, at)
		} else if got := make([]byte, n); true {
			if _, err := f.ReadAt(got, at); err != nil || !bytes.Equal(got, b[2*mib+1000:][:n]) {
				t.Errorf("%q: wrong range: %v", format, err)
			}
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if _, err := m.ReadAt(make([]byte, 10), 0); !errors.Is(err, os.ErrClosed) {
			t.Errorf("%q: read after close: %v", format, err)
		}
	}
}

func TestOpen_errors(t *testing.T) {
	dir := t.TempDir()
	cut := compress(t, "gzip", testImage())
	for _, tt := range []struct {
		path string
		o    Options
		want error
		text string
	}{
		{filepath.Join(dir, "none"), Options{}, fs.ErrNotExist, "none"},
		{dir, Options{}, nil, "open " + dir + ": is a directory"},
		{writeFile(t, cut[:5000]), Options{}, disk.ErrCorrupt, "gzip: the stream is cut off: unexpected EOF"},
		{writeFile(t, gptDisk(512)), Options{Partition: "9"}, ErrNoPartition, `no partition "9"`},
	} {
		_, err := Open(tt.path, tt.o)
		var pe *fs.PathError
		if !errors.As(err, &pe) || pe.Path != tt.path || pe.Op != "open" ||
			(tt.want != nil && !errors.Is(err, tt.want)) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%v", err)
		}
		if strings.Count(err.Error(), tt.path) != 1 {
			t.Errorf("%v: names the file more than once", err)
		}
	}
}

func TestOpen_leavesNothingBehind(t *testing.T) {
	temp := t.TempDir()
	path := writeFile(t, compress(t, "xz", testImage()))
	for _, o := range []Options{{}, {MaxBytes: 1000}, {Partition: "5"}} {
		o.MemoryBytes, o.TempDir = -1, temp
		m, err := Open(path, o)
		if err == nil {
			err = m.Close()
		}
		if left, _ := os.ReadDir(temp); len(left) != 0 {
			t.Errorf("%+v: %s is left (%v)", o, left[0].Name(), err)
		}
		// The lock is gone too.
		x, err := Open(path, Options{Exclusive: true})
		if err != nil {
			t.Fatal(err)
		}
		x.Close()
	}
}

func TestOpen_locks(t *testing.T) {
	path := writeFile(t, testImage())
	open := func(o Options) (*Image, error) {
		m, err := Open(path, o)
		if err == nil {
			t.Cleanup(func() { m.Close() })
		}
		return m, err
	}
	first, err := open(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open(Options{}); err != nil {
		t.Errorf("two readers: %v", err)
	}
	var be *BusyError
	if _, err := open(Options{Exclusive: true}); !errors.As(err, &be) || !errors.Is(err, ErrBusy) {
		t.Errorf("a writer beside readers: %v", err)
	}
	other := writeFile(t, testImage())
	x, err := Open(other, Options{Exclusive: true})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	if _, err := Open(other, Options{}); !errors.Is(err, ErrBusy) {
		t.Errorf("a reader beside a writer: %v", err)
	}
	m, err := Open(other, Options{NoLock: true})
	if err != nil || m.Locked() {
		t.Errorf("without a lock: %v", err)
	}
	m.Close()
	if !first.Locked() {
		t.Error("the first one has no lock")
	}
}

// holdEnv makes the test binary a process that holds a lock of some kind on a
// file until its standard input ends.
const holdEnv = "E4KIT_TEST_HOLD_LOCK"

func TestMain(m *testing.M) {
	if how := os.Getenv(holdEnv); how != "" {
		kind, path, _ := strings.Cut(how, ":")
		if err := holdLock(kind, path); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("locked")
		bufio.NewReader(os.Stdin).ReadByte()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// startHolder runs this program as a holder and returns its process number.
func startHolder(t *testing.T, kind, path string) int {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holdEnv+"="+kind+":"+path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if line != "locked\n" {
		t.Fatalf("holder says %q, %v", line, err)
	}
	return cmd.Process.Pid
}
