package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

func TestNormalize(t *testing.T) {
	for _, tt := range []struct {
		words, want string // want is empty for a usage error
	}{
		{"ls a", "ls -- a"},
		{"ls -l a", "ls --long=true -- a"},
		{"ls a -l", "ls --long=true -- a"},
		{"ls -laR a", "ls --long=true --all=true --recursive=true -- a"},
		{"ls -- -l", "ls -- -l"},
		{"ls a -- -l b", "ls -- a -l b"},
		{"ls -h a", "ls --human-readable=true -- a"},
		{"ls - a", "ls -- - a"},
		{"--json ls a", "ls --json=true -- a"},
		{"--cache 1M ls a", "ls --cache=1M -- a"},
		{"ls --cache=1M a", "ls --cache=1M -- a"},
		{"ls --cache 1M a", "ls --cache=1M -- a"},
		{"ls --cache -5 a", "ls --cache=-5 -- a"},
		{"cp -at d a b", "cp --archive=true --target-directory=d -- a b"},
		{"cp -atd a b", "cp --archive=true --target-directory=d -- a b"},
		{"cp -R a b", "cp --recursive=true -- a b"},
		{"tree -L2 a", "tree --level=2 -- a"},
		{"ls --json=false a", "ls --json=false -- a"},
		{"find a -name b --json", "find --json=true -- a -name b"},
		{"find a --name b", "find -- a --name b"},
		{"find a -size -5M -o ! -perm -4000", "find -- a -size -5M -o ! -perm -4000"},
		{"find a -offset 5 -mtime -1", "find --offset=5 -- a -mtime -1"},
		{"dump super a --json", "dump super --json=true -- a"},
		{"--json dump super a", "dump super --json=true -- a"},
		{"ls --cache", ""},
		{"ls -t --cache", ""},
		{"ls -x a", ""},
		{"ls --lon a", ""},
		{"ls -long a", ""},
		{"cp -t", ""},
		{"dump", ""},
		{"dump nonsense a", ""},
		{"-l ls a", ""},
		{"", ""},
		{"nonsense", ""},
	} {
		e := &env{ctx: context.Background()}
		inv, err := normalize(newApp(e, allCommands(e)), strings.Fields(tt.words))
		var usage *usageError
		if tt.want == "" {
			if !errors.As(err, &usage) {
				t.Errorf("%q: error %v, want one of usage", tt.words, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", tt.words, err)
			continue
		}
		if got := strings.Join(inv.argv[1:], " "); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.words, got, tt.want)
		}
	}
}

func TestNormalize_help(t *testing.T) {
	for words, path := range map[string]string{
		"--help": "", "ls --help": "ls", "cat -h": "cat", "dump super --help": "dump super", "-h": "", "cat x --help": "cat",
	} {
		inv, err := normalize(newWholeApp(), strings.Fields(words))
		if err != nil || !inv.help || strings.Join(inv.path, " ") != path {
			t.Errorf("%q: %+v, %v", words, inv, err)
		}
	}
}

func TestEditDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"", "abc", 3}, {"ls", "lss", 1}, {"kitten", "sitting", 3}, {"abc", "abc", 0}} {
		if got := editDistance(tt.a, tt.b); got != tt.want {
			t.Errorf("%q %q: %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

func TestParseTarget(t *testing.T) {
	for _, tt := range []struct {
		in, image, path string
		inode           uint32
		given           bool
	}{
		{"a.img", "a.img", "/", 0, false},
		{"a.img:/", "a.img", "/", 0, true},
		{"a.img:/etc/x", "a.img", "/etc/x", 0, true},
		{"a.img:/x:/y", "a.img", "/x:/y", 0, true},
		{"a.img:<12>", "a.img", "", 12, true},
		{"a.img:<0x10>/b", "a.img", "/b", 16, true},
		{"a.img:/x:<3>", "a.img", "/x:<3>", 0, true},
		{"a.img:<3>/x:/y", "a.img", "/x:/y", 3, true},
		{"a:b.img", "a:b.img", "/", 0, false},
		{"a:b.img:/c", "a:b.img", "/c", 0, true},
		{`c:\disk.img:/etc`, `c:\disk.img`, "/etc", 0, true},
		{"c:/disk.img:/etc", "c:/disk.img", "/etc", 0, true},
		{"c:/disk.img", "c:/disk.img", "/", 0, false},
		{"d:<5>", "d:<5>", "/", 0, false},
		{"/dev/sda1:/boot", "/dev/sda1", "/boot", 0, true},
	} {
		got, err := parseTarget(tt.in)
		if err != nil {
			t.Errorf("%q: %v", tt.in, err)
			continue
		}
		if got.image != tt.image || got.path != tt.path || uint32(got.inode) != tt.inode || got.given != tt.given {
			t.Errorf("%q: %+v", tt.in, got)
		}
	}
	for _, in := range []string{"", ":/x", ":<5>", "im:<>", "im:<x>", "im:<0>", "im:<5", "im:<5>x", "im:<99999999999>"} {
		if got, err := parseTarget(in); err == nil {
			t.Errorf("%q: %+v, want an error", in, got)
		}
	}
}

func TestParseSize(t *testing.T) {
	for in, want := range map[string]int64{
		"0": 0, "512": 512, "4k": 4096, "4K": 4096, "64M": 64 << 20, "1GiB": 1 << 30, "1kB": 1000, "2MB": 2e6, "10B": 10,
		"0x1000": 4096, "9223372036854775807": 1<<63 - 1, "7E": 7 << 60, "3T": 3 << 40, "1Gib": 1 << 30,
	} {
		if got, err := parseSize(in); err != nil || got != want {
			t.Errorf("%q: %d, %v, want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "k", "-1", "1.5k", "8E", "12q", "1ki", "0x", "010", "1 k", "9223372036854775808", "9999999999E"} {
		if got, err := parseSize(in); err == nil {
			t.Errorf("%q: %d, want an error", in, got)
		}
	}
}

func TestHumanSize(t *testing.T) {
	for in, want := range map[int64]string{
		0: "0", 1: "1", 1023: "1023", 1024: "1.0K", 1025: "1.1K", 10239: "10K", 10240: "10K", 10241: "11K",
		1<<20 - 1: "1.0M", 1 << 20: "1.0M", 9961472: "9.5M", 104857600: "100M", 1<<63 - 1: "8.0E",
	} {
		if got := humanSize(in); got != want {
			t.Errorf("%d: %s, want %s", in, got, want)
		}
	}
}

func TestSafeText(t *testing.T) {
	for in, want := range map[string]string{
		"plain name": "plain name", "ä€𝄞": "ä€𝄞", "a\x1b[31mb": `a\x1b[31mb`, "a\nb\tc\r": `a\nb\tc\r`,
		"\xff\xfe": `\xff\xfe`, "\u202e": `\xe2\x80\xae`, "\ufffd": "\ufffd", "\xef": `\xef`, "\x7f": `\x7f`,
	} {
		if got := safeText(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestUseColor(t *testing.T) {
	for _, tt := range []struct {
		env      string
		terminal bool
		want     bool
	}{
		{"", true, true}, {"", false, false}, {"NO_COLOR=1", true, false}, {"NO_COLOR=", true, true},
		{"CLICOLOR_FORCE=1", false, true}, {"CLICOLOR_FORCE=0", false, false}, {"NO_COLOR=1 CLICOLOR_FORCE=1", true, false},
		{"TERM=dumb", true, false}, {"CLICOLOR=0", true, false},
	} {
		vars := map[string]string{}
		for _, kv := range strings.Fields(tt.env) {
			name, value, _ := strings.Cut(kv, "=")
			vars[name] = value
		}
		if got := useColor(func(name string) string { return vars[name] }, tt.terminal); got != tt.want {
			t.Errorf("%q, terminal %v: %v", tt.env, tt.terminal, got)
		}
	}
}

// TestCommands_documented: every command has an example, and its flags say
// what they do.
func TestCommands_documented(t *testing.T) {
	app := newWholeApp()
	var names []string
	for _, c := range app.Commands {
		names = append(names, c.Name)
		if c.Usage == "" || c.Category == "" {
			t.Errorf("%s: no usage or category", c.Name)
		}
		all := append([]string{c.Description}, func() (list []string) {
			for _, sub := range c.Subcommands {
				list = append(list, sub.Description)
			}
			return list
		}()...)
		for _, text := range all {
			_, examples, ok := strings.Cut(text, "Example")
			if !ok || !strings.Contains(examples, "\n  ") {
				t.Errorf("%s: no example in %q", c.Name, text)
			}
			for _, line := range strings.Split(text, "\n") {
				if len(line) > 100 {
					t.Errorf("%s: long line in the help: %q", c.Name, line)
				}
			}
		}
		for _, f := range c.Flags {
			if head, usage := flagHead(f); usage == "" {
				t.Errorf("%s: flag %s has no usage", c.Name, head)
			}
		}
	}
	if !slices.Contains(names, "help") {
		t.Error("no help")
	}
}

func newWholeApp() *cli.App {
	e := &env{ctx: context.Background()}
	return newApp(e, allCommands(e))
}

// A command line is read with the command it begins with only: that must not
// be another one than its name says.
func TestVerbs_names(t *testing.T) {
	e := &env{ctx: context.Background()}
	for _, v := range verbs() {
		if got := v.make(e).Name; got != v.name {
			t.Errorf("the command called %q says that it is %q", v.name, got)
		}
		if len(commandsFor(e, []string{v.name, "x"})) == 0 {
			t.Errorf("no command for %q", v.name)
		}
	}
	all := len(verbs())
	for _, words := range []string{"", "lss x", "--json ls", "--partition ls cat x:/y", "help ls", "man", "__complete -- ls"} {
		if got := len(commandsFor(e, strings.Fields(words))); got != all {
			t.Errorf("%d commands for %q, want all %d", got, words, all)
		}
	}
}
