package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// jobs are the rows of the table. The goals are the project's promise.
func jobs() []*job {
	return []*job{
		treeJob("tree", "extract the tree of 52,443 names", "root", "/"),
		treeJob("small", "extract 100,000 small files", "small", "/files"),
		fileJob("file-warm", "one file of 1 GiB out, warm", "file", 0.5, false),
		fileJob("file-cold", "one file of 1 GiB out, cold", "file", 0.9, true),
		fileJob("file-extents", "a file of 131,072 extents out", "extents", 0.6, false),
		extentsJob(),
		listJob("list", "list the tree with stat", "root", "/"),
		listJob("list-names", "list 200,000 names with stat", "names", "/names"),
		groupsJob(),
		freeJob(),
	}
}

// mounted wraps commands that work on the kernel's mount.
func mounted(p place, work ...command) []command {
	list := []command{{argv: []string{"mount", "-t", "ext4", "-o", "ro,loop", p.img, p.mnt}}}
	list = append(list, work...)
	return append(list, command{argv: []string{"umount", p.mnt}, always: true})
}

// ours is a side of one run of e4kit.
func ours(name string, argv func(p place) []string, facts func(place) (string, error)) side {
	return side{name: name, facts: facts, checks: true, commands: func(b *bench, p place) []command {
		return []command{{argv: append([]string{b.e4kit}, argv(p)...), out: p.out}}
	}}
}

// debugfs is a side of one run of debugfs. Its exit status says nothing.
func debugfs(argv func(p place) []string, facts func(place) (string, error)) side {
	return side{name: "debugfs", facts: facts, commands: func(b *bench, p place) []command {
		return []command{{argv: append([]string{"debugfs"}, argv(p)...), out: p.out}}
	}}
}

func treeJob(name, what, workload, dir string) *job {
	from := strings.TrimSuffix(dir, "/") + "/."
	return &job{
		name: name, what: what, workload: workload, goal: 0.2,
		peer: side{name: "mount + cp -a", facts: treeFacts, checks: true, commands: func(_ *bench, p place) []command {
			return mounted(p, command{argv: []string{"cp", "-a", p.mnt + from, p.dest}})
		}},
		ours: ours("e4kit cp -a", func(p place) []string {
			return []string{"cp", "-a", p.img + ":" + from, p.dest}
		}, treeFacts),
		others: []side{debugfs(func(p place) []string {
			return []string{"-R", "rdump " + dir + " " + p.dest, p.img}
		}, treeFacts)},
		same: sameTrees(),
	}
}

func fileJob(name, what, workload string, goal float64, cold bool) *job {
	return &job{
		name: name, what: what, workload: workload, goal: goal, cold: cold,
		peer: side{name: "mount + cp", facts: treeFacts, checks: true, commands: func(_ *bench, p place) []command {
			return mounted(p, command{argv: []string{"cp", p.mnt + "/file", p.dest}})
		}},
		ours: ours("e4kit cp", func(p place) []string {
			return []string{"cp", p.img + ":/file", p.dest}
		}, treeFacts),
		others: []side{debugfs(func(p place) []string {
			return []string{"-R", "dump /file " + p.dest + "/file", p.img}
		}, treeFacts)},
		// cp without -p gives each copy its own time.
		same: sameTrees("MTIME"),
	}
}

func extentsJob() *job {
	return &job{
		name: "extents", what: "extents of all files", workload: "root", goal: 0.25, quick: true,
		prepare: inodeScript,
		peer: side{name: "debugfs ex", facts: debugfsExtents, checks: true, commands: func(_ *bench, p place) []command {
			return []command{{argv: []string{"debugfs", "-f", p.aux, p.img}, out: p.out}}
		}},
		ours: ours("e4kit extents", func(p place) []string {
			return []string{"extents", "--all", "--json", p.img}
		}, ourExtents),
	}
}

// inodeScript writes the commands that show the extents of every inode that
// has a name, since debugfs cannot look for them by itself.
func inodeScript(b *bench, img string) (string, error) {
	if script, ok := b.inodes[img]; ok {
		return script, nil
	}
	list := filepath.Join(b.dir, "inodes")
	_, err := b.measureAll(mounted(place{img: img, mnt: b.mnt},
		command{argv: []string{"find", b.mnt, "-xdev", "-printf", `ex <%i>\n`}, out: list}))
	if err != nil {
		return "", err
	}
	script := filepath.Join(b.dir, "extents.debugfs")
	out, err := exec.CommandContext(b.ctx, "sort", "-u", "-t<", "-k2n", "-o", script, list).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("sort: %w: %s", err, out)
	}
	b.inodes[img] = script
	return script, os.Remove(list)
}

func listJob(name, what, workload, dir string) *job {
	find := func(p place) []string { return []string{"find", p.mnt + dir, "-ls"} }
	return &job{
		name: name, what: what, workload: workload, goal: 0.2, quick: true,
		peer: side{name: "mount + find -ls", facts: findFacts, checks: true, commands: func(_ *bench, p place) []command {
			return mounted(p, command{argv: find(p), out: p.out})
		}},
		ours: ours("e4kit find -ls", func(p place) []string {
			return []string{"find", p.img + ":" + dir, "-ls"}
		}, findFacts),
		others: []side{ours("e4kit ls -lRA", func(p place) []string {
			return []string{"ls", "-lRA", p.img + ":" + dir}
		}, noFacts).unchecked()},
	}
}

func groupsJob() *job {
	return &job{
		name: "groups", what: "group dump, 256 GiB", workload: "sparse", goal: 0.4, quick: true,
		peer: side{name: "dumpe2fs", facts: dumpe2fsFacts, checks: true, commands: func(_ *bench, p place) []command {
			return []command{{argv: []string{"dumpe2fs", p.img}, out: p.out}}
		}},
		// dumpe2fs shows the free ranges of the bitmaps: so must we.
		ours: ours("e4kit dump groups --long", func(p place) []string {
			return []string{"dump", "groups", "--long", p.img}
		}, groupFacts),
		others: []side{ours("e4kit dump groups", func(p place) []string {
			return []string{"dump", "groups", p.img}
		}, noFacts).unchecked()},
	}
}

func freeJob() *job {
	return &job{
		name: "freespace", what: "free space, 256 GiB", workload: "sparse", goal: 0.4, quick: true,
		peer: side{name: "e2freefrag", facts: freeFacts, checks: true, commands: func(_ *bench, p place) []command {
			return []command{{argv: []string{"e2freefrag", p.img}, out: p.out}}
		}},
		ours: ours("e4kit freespace", func(p place) []string { return []string{"freespace", p.img} }, freeFacts),
	}
}

func (s side) unchecked() side {
	s.checks = false
	return s
}
