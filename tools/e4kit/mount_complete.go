package main

import "strings"

// mountValues are the words that flags of mount take, for completion.
var mountValues = map[string]func() []string{
	"options": func() []string {
		return []string{
			"ro", "rw", "noload", "data=ordered", "data=writeback", "data=journal", "commit=", "errors=continue", "errors=remount-ro",
			"errors=panic", "sync", "dirsync", "noatime", "relatime", "strictatime", "lazytime", "acl", "noacl", "user_xattr", "nouser_xattr",
			"minixdf", "discard", "offset=", "partition=", "cache_size=", "lockfile=", "overlay=", "log_file=", "fakeroot", "idmap", "no_open", "io_uring", "no_io_uring", "parallel_dio", "blkdev", "noblkdev", "uid=", "gid=", "resuid=", "resgid=",
			"allow_other", "private", "default_permissions", "nosuid", "nodev", "noexec", "quota", "fsname=", "subtype=", "max_read=",
		}
	},
	"log-level": func() []string { return mountLevels },
}

// mountpoints offers what e4kit has mounted, and directories besides.
func (k *completer) mountpoints(prefix string) {
	k.then = "files"
	table, err := mountTable()
	if err != nil {
		return
	}
	for _, m := range table {
		if m.ours() && strings.HasPrefix(m.dir, prefix) {
			k.add(m.dir, m.source)
		}
	}
}
