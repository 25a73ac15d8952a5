package testimages

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// hashed makes indexed directories with the hash alg; sign says how bytes
// above 127 count in it.
func hashed(alg, sign string) func(b *builder) error {
	return func(b *builder) error {
		if err := b.mkfs(); err != nil {
			return err
		}
		if err := b.tune("-E", "hash_alg="+alg); err != nil {
			return err
		}
		flags := map[string]string{"signed": "1", "unsigned": "2"}[sign]
		if err := b.debugfsQuiet("ssv flags " + flags); err != nil {
			return err
		}
		return b.mount(func(dir string) error {
			return fillNames(dir+"/indexed", 1500, func(i int) string {
				return fmt.Sprintf("%s-%d-%s", []string{"plain", "grün", "日本", "\xff\xc0"}[i%4], i, strings.Repeat("é", i%17))
			})
		})
	}
}

// largeDir makes an index of three levels: long names, small blocks.
func largeDir(b *builder) error {
	return b.withNames(36_000, func(i int) string { return fmt.Sprintf("%0244d", i) })
}

// manyNames makes one directory of n names.
func manyNames(n int) func(b *builder) error {
	return func(b *builder) error {
		return b.withNames(n, func(i int) string { return fmt.Sprintf("file-%d-%s", i, strings.Repeat("p", i%23)) })
	}
}

func (b *builder) withNames(n int, name func(i int) string) error {
	if err := b.mkfs(); err != nil {
		return err
	}
	return b.mount(func(dir string) error { return fillNames(dir+"/names", n, name) })
}

// linksPerFile stays below the 65,000 links an inode may have.
const linksPerFile = 30_000

// fillNames makes the folder dir with n names. They are hard links to a few
// files, since inodes are not the point.
func fillNames(dir string, n int, name func(i int) string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var first string
	for i := range n {
		if i%linksPerFile != 0 {
			if err := unix.Linkat(fd, first, fd, name(i), 0); err != nil {
				return fmt.Errorf("name %d: %w", i, err)
			}
			continue
		}
		first = name(i)
		if err := os.WriteFile(dir+"/"+first, []byte(first), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// manyFolders makes more subfolders than a link count can say.
func manyFolders(b *builder) error {
	if err := b.mkfs(); err != nil {
		return err
	}
	return b.mount(func(dir string) error {
		if err := os.Mkdir(dir+"/many", 0o755); err != nil {
			return err
		}
		fd, err := unix.Open(dir+"/many", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for i := range 65_010 {
			if err := unix.Mkdirat(fd, fmt.Sprint(i), 0o755); err != nil {
				return fmt.Errorf("folder %d: %w", i, err)
			}
		}
		return nil
	})
}
