package main

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/testimages"
)

// The writing jobs compare e4kit with the kernel's mount on fresh images on the
// local disk. The kernel's way ends with a syncfs and umount, ours with the
// close of the image: both are durable then.

// scale are the sizes of the writing jobs.
type scale struct {
	file    int64  // bytes of one file
	creates int    // files in one directory
	unlinks int    // files to remove
	tree    string // a host folder to copy, "" for the workload's
}

var (
	fullScale  = scale{file: 1 << 30, creates: 200_000, unlinks: 100_000}
	smallScale = scale{file: 32 << 20, creates: 5000, unlinks: 2500, tree: "/usr/share/perl"}
)

const targetSize = 4 << 30

// writeJobs are the rows about writing.
func writeJobs(s scale) []*job {
	return []*job{
		writeJob("write-file", fmt.Sprintf("one file of %d MiB in", s.file>>20), 1/0.9, hostFile(s.file), emptyTarget,
			func(p place) []command { return []command{{argv: []string{"cp", p.aux, p.mnt + "/file"}}} },
			func(p place) []string { return []string{"cp", p.aux, p.img + ":/file"} }),
		writeJob("write-tree", "copy a tree in", 1, hostTree(s), emptyTarget,
			func(p place) []command { return []command{{argv: []string{"cp", "-a", p.aux + "/.", p.mnt}}} },
			func(p place) []string { return []string{"cp", "-a", p.aux + "/.", p.img + ":/"} },
			debugfsWrite()),
		writeJob("write-tar", "unpack a tree", 1, hostTar(s), emptyTarget,
			func(p place) []command {
				return []command{{argv: []string{"tar", "-x", "-p", "--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner", "-f", p.aux, "-C", p.mnt}}}
			},
			func(p place) []string { return []string{"tar", "-x", "-f", p.aux, p.img} }),
		writeJob("write-creates", fmt.Sprintf("make %d files in one directory", s.creates), 1, manyTar(s.creates), emptyTarget,
			func(p place) []command { return []command{{argv: []string{"tar", "-x", "-f", p.aux, "-C", p.mnt}}} },
			func(p place) []string { return []string{"tar", "-x", "-f", p.aux, p.img} }),
		writeJob("write-unlinks", fmt.Sprintf("remove %d files", s.unlinks), 1, manyTar(s.unlinks), filledTarget,
			func(p place) []command { return []command{{argv: []string{"rm", "-r", p.mnt + "/many"}}} },
			func(p place) []string { return []string{"rm", "-r", p.img + ":/many"} }),
	}
}

// writeJob is a job that changes an image, which target makes.
func writeJob(name, what string, goal float64, source func(*bench, string) (string, error), target func(*bench, place) error,
	kernel func(place) []command, argv func(place) []string, others ...side) *job {
	return &job{
		name: name, what: what, goal: goal, prepare: source, target: target, others: others,
		peer: side{name: "mount, sync, umount", facts: imageFacts, checks: true, commands: func(_ *bench, p place) []command {
			list := []command{{argv: []string{"mount", "-t", "ext4", "-o", "loop", p.img, p.mnt}}}
			list = append(list, kernel(p)...)
			list = append(list, command{argv: []string{"sync", "-f", p.mnt}})
			return append(list, command{argv: []string{"umount", p.mnt}, always: true})
		}},
		ours: side{name: "e4kit " + argv(place{})[0], facts: imageFacts, checks: true, commands: func(b *bench, p place) []command {
			return []command{{argv: append([]string{b.e4kit}, argv(p)...), out: p.out}}
		}},
	}
}

// debugfsWrite copies the regular files of a tree by a script, as scripts for
// images do it: content only.
func debugfsWrite() side {
	return side{name: "debugfs write", facts: imageFacts, commands: func(_ *bench, p place) []command {
		script := `cd "$1" && { find . -mindepth 1 -type d | sed 's/^\.\(.*\)/mkdir "\1"/'; find . -type f | sed 's/^\.\(.*\)/write ".\1" "\1"/'; } | debugfs -w -f - "$2"`
		return []command{{argv: []string{"sh", "-c", script, "sh", p.aux, p.img}, out: p.out}}
	}}
}

// imageFacts judges an image and counts what is in it. Extents are no fact to
// agree on: they are told.
func imageFacts(p place) (string, error) {
	if err := testimages.Check(p.img); err != nil {
		return "", err
	}
	fsys, err := ext4fs.OpenFile(p.img, nil)
	if err != nil {
		return "", err
	}
	defer fsys.Close()
	var files, extents, bytes int64
	for i, err := range fsys.Inodes() {
		if err != nil {
			return "", err
		}
		if !i.IsRegular() || i.Number() < fsys.Super().FirstInode {
			continue
		}
		files++
		bytes += i.Size()
		for _, err := range i.Extents() {
			if err != nil {
				return "", err
			}
			extents++
		}
	}
	fmt.Fprintf(os.Stderr, "  %s: %d extents in %d files\n", filepath.Base(p.dest), extents, files)
	return fmt.Sprintf("%d files, %d bytes", files, bytes), nil
}

// emptyTarget makes a file system.
func emptyTarget(_ *bench, p place) error {
	if err := os.RemoveAll(p.img); err != nil {
		return err
	}
	return testimages.MakeFS(p.img, targetSize, "-E", "lazy_itable_init=0")
}

// filledTarget makes a file system in which the kernel has unpacked the
// archive.
func filledTarget(b *bench, p place) error {
	if err := emptyTarget(b, p); err != nil {
		return err
	}
	return testimages.Mounted(p.img, "", func(dir string) error {
		out, err := exec.CommandContext(b.ctx, "tar", "-x", "-f", p.aux, "-C", dir).CombinedOutput()
		if err != nil {
			return fmt.Errorf("tar: %w: %s", err, out)
		}
		return nil
	})
}

// hostFile makes a file to copy.
func hostFile(size int64) func(*bench, string) (string, error) {
	return func(b *bench, _ string) (string, error) {
		name := filepath.Join(b.dir, "source-file")
		f, err := os.Create(name)
		if err != nil {
			return "", err
		}
		piece := testimages.Content(1, 1<<20)
		for at := int64(0); at < size && err == nil; at += int64(len(piece)) {
			piece[0] = byte(at >> 20)
			_, err = f.Write(piece)
		}
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		return name, err
	}
}

// hostTree makes a tree to copy: that of the workload, on the tmpfs.
func hostTree(s scale) func(*bench, string) (string, error) {
	return func(b *bench, _ string) (string, error) {
		dir := filepath.Join(b.dir, "source-tree")
		if _, err := os.Stat(dir); err == nil {
			return dir, nil
		}
		from := s.tree
		argv := []string{"cp", "-a", from, dir}
		if from == "" {
			img, err := b.image("root")
			if err != nil {
				return "", err
			}
			argv = []string{b.e4kit, "cp", "-a", img + ":/", dir}
		}
		return dir, command1(b.ctx, argv...)
	}
}

// hostTar makes an archive of that tree.
func hostTar(s scale) func(*bench, string) (string, error) {
	return func(b *bench, img string) (string, error) {
		dir, err := hostTree(s)(b, img)
		if err != nil {
			return "", err
		}
		name := filepath.Join(b.dir, "source.tar")
		return name, command1(b.ctx, "tar", "-c", "--format=pax", "--xattrs", "--acls", "--numeric-owner", "-S", "-f", name, "-C", dir, ".")
	}
}

// manyTar makes an archive of n empty files in one directory.
func manyTar(n int) func(*bench, string) (string, error) {
	return func(b *bench, _ string) (string, error) {
		name := filepath.Join(b.dir, fmt.Sprintf("many-%d.tar", n))
		f, err := os.Create(name)
		if err != nil {
			return "", err
		}
		err = writeMany(f, n)
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		return name, err
	}
}

// writeFolders writes an archive of n files of a few bytes, 1000 in a folder.
func writeFolders(out io.Writer, n int) error {
	w := tar.NewWriter(out)
	if err := w.WriteHeader(&tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755}); err != nil {
		return err
	}
	for i := range n {
		if i%1000 == 0 {
			if err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("%04d/", i/1000), Typeflag: tar.TypeDir, Mode: 0o755}); err != nil {
				return err
			}
		}
		text := fmt.Sprintf("content of %d\n", i)
		h := &tar.Header{Name: fmt.Sprintf("%04d/file-%06d", i/1000, i), Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(text))}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
	}
	return w.Close()
}

func writeMany(out io.Writer, n int) error {
	w := tar.NewWriter(out)
	if err := w.WriteHeader(&tar.Header{Name: "many/", Typeflag: tar.TypeDir, Mode: 0o755}); err != nil {
		return err
	}
	for i := range n {
		if err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("many/file-%06d", i), Typeflag: tar.TypeReg, Mode: 0o644}); err != nil {
			return err
		}
	}
	return w.Close()
}

func command1(ctx context.Context, argv ...string) error {
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, out)
	}
	return nil
}

// targetOf is where a side of a writing job has its image: on the local disk,
// beside the workloads, or in the bench's folder on the tmpfs.
func (b *bench) targetOf(j *job, side string) (string, error) {
	dir := b.dir
	if !j.onTmpfs || j.onDisk {
		var err error
		if dir, err = workDir(); err != nil {
			return "", err
		}
	}
	return filepath.Join(dir, "target-"+strings.NewReplacer(" ", "-", ",", "").Replace(side)+".img"), os.MkdirAll(dir, 0o755)
}

// workDir is the folder of the workloads.
func workDir() (string, error) {
	if dir := os.Getenv(testimages.EnvBenchDir); dir != "" {
		return dir, nil
	}
	cache, err := os.UserCacheDir()
	return filepath.Join(cache, "e4kit-bench"), err
}
