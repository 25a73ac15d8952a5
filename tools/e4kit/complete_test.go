package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/testimages"
)

func TestComplete(t *testing.T) {
	inDemo(t)
	for _, tt := range []struct {
		words string // separated by blanks; a last "" is written _
		want  string // candidates, then what the shell does
	}{
		{"l", "ls ln label :"},
		{"ver", "verity :"},
		{"help fin", "find :"},
		{"completion _", "bash zsh fish :"},
		{"ls --hum", "--human-readable :"},
		{"ls -", "-l -a -A -R -i -h -d -n -1 -s -F -r -t -S -U :"},
		{"find demo.img -mt", "-mtime :"},
		{"dump su", "super :"},
		{"ls demo.img:/u", "demo.img:/usr/ :nospace"},
		{"ls -l demo.img:/etc/", "demo.img:/etc/fstab demo.img:/etc/passwd demo.img:/etc/shadow :"},
		{"ls demo.img:/usr/src/", "demo.img:/usr/src/long demo.img:/usr/src/reader/ demo.img:/usr/src/shell :nospace"},
		{"ls demo.img:/b", "demo.img:/bin/ :nospace"},
		{"cat demo.img:/bin/ls", "demo.img:/bin/ls :"},
		{"ls demo.img", "demo.img:/ :nospace"},
		{"ls demo.im", ":files"},
		{"ls nothing.img:/", ":nospace"},
		{"ls demo.img:/nothing/", ":nospace"},
		{"ls --journal _", ":files"},
		{"ls --journal x demo.img:/us", "demo.img:/usr/ :nospace"},
		{"ls --offset 0 demo.img:/us", "demo.img:/usr/ :nospace"},
		{"ls demo.img --offset=1M demo.img:/us", ":nospace"},
		{"ls --partition 1 demo.img:/us", ":nospace"},
		{"ls -- -", ":files"},
		{"ls demo.img:<2>/et", "demo.img:<2>/etc/ :nospace"},
		{"--json l", "ls ln label :"},
		{"nonsense x", ":files"},
		{"mkfs --profile gr", "grub grub-2.12 :"},
		{"mkfs --format _", "raw android gz zst :"},
		{"mkfs -t e", "ext2 ext3 ext4 :"},
		{"mkfs --from _", ":files"},
		{"mkfs --parti", "--partition --partition-type :"},
		{"mount --log-level w", "warn :"},
		{"mount -o ro,data=", "ro,data=ordered ro,data=writeback ro,data=journal :"},
		{"mount --over", "--overlay :"},
		{"mount --overlay _", ":files"},
		{"umount --la", "--lazy :"},
		{"commit-overlay --k", "--keep :"},
	} {
		words := strings.Fields(tt.words)
		if last := len(words) - 1; words[last] == "_" {
			words[last] = ""
		}
		r := e4kit(append([]string{"__complete", "--"}, words...)...)
		var got []string
		for line := range strings.Lines(r.stdout) {
			word, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
			if tt.words == "ls -" && strings.HasPrefix(word, "--") {
				continue
			}
			got = append(got, word)
		}
		if r.code != 0 || r.stderr != "" || strings.Join(got, " ") != tt.want {
			t.Errorf("%q: %q, want %q (exit %d, %q)", tt.words, strings.Join(got, " "), tt.want, r.code, r.stderr)
		}
	}
}

// program builds the real program once for the tests that need a process.
func program(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "e4kit")
	if out, err := exec.Command("go", "build", "-o", name, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return name
}

// TestCompletion_bash runs the script in a real shell: words are typed, and
// what the shell would put in their place is printed.
func TestCompletion_bash(t *testing.T) {
	testimages.RequireTool(t, "bash")
	bin := program(t)
	inDemo(t)
	const driver = `
eval "$(e4kit completion bash)"
COMP_LINE=$1 COMP_POINT=${#1}
# Break words as readline does.
read -ra COMP_WORDS <<<"$(sed 's/[:<>=]/ & /g' <<<"$1")"
[[ $1 == *' ' || $1 == *: ]] && COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_e4kit
printf '%s\n' "${COMPREPLY[@]}"
`
	for _, tt := range []struct{ line, want string }{
		{"e4kit fi", "find"},
		{"e4kit ls demo.img:/us", "/usr/"},
		{"e4kit ls -l demo.img:/etc/f", "/etc/fstab"},
		{"e4kit ls 'demo.img:/us", "demo.img:/usr/"},
		{"e4kit cat demo.img:/home/ada/notes/", `/home/ada/notes/Überblick.txt`},
		{"e4kit ls --hum", "--human-readable"},
		{"e4kit info demo.i", "demo.img"},
	} {
		cmd := exec.Command("bash", "--norc", "-c", driver, "bash", tt.line)
		cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(bin)+":"+os.Getenv("PATH"), "LC_ALL=C.UTF-8")
		out, err := cmd.Output()
		if got := strings.TrimSpace(string(out)); err != nil || got != tt.want {
			t.Errorf("%q: %q, want %q (%v)", tt.line, got, tt.want, err)
		}
	}
}

// TestCompletion_scripts lets each shell that is here read its script.
func TestCompletion_scripts(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		r := e4kit("completion", shell)
		if r.code != 0 || !strings.Contains(r.stdout, "__complete") {
			t.Errorf("%s: %v", shell, r)
		}
		if _, err := exec.LookPath(shell); err != nil {
			continue
		}
		file := filepath.Join(t.TempDir(), "script")
		if err := os.WriteFile(file, []byte(r.stdout), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(shell, "-n", file).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", shell, err, out)
		}
	}
	if r := e4kit("completion", "tcsh"); r.code != exitUsage {
		t.Error(r)
	}
}

func TestMan(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "man")
	if r := e4kit("man", dir); r.code != 0 {
		t.Fatal(r)
	}
	page, err := os.ReadFile(filepath.Join(dir, "e4kit-cp.1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{".TH \"E4KIT\\-CP\" 1", ".SH EXAMPLES", "e4kit cp \\-a disk.img:/ rootfs"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("no %q in the page of cp", want)
		}
	}
	if _, err := exec.LookPath("man"); err != nil {
		return
	}
	for _, name := range tree(t, dir) {
		out, err := exec.Command("man", "--warnings", "-l", "-Tutf8", filepath.Join(dir, name)).CombinedOutput()
		if err != nil || strings.Contains(string(out), "warning") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}
