package main

import (
	"os"
	"path/filepath"
	"strings"
)

// mountWords turns what mount(8) and mount.fuse(8) call us with into words of
// this program. They are
//
//	mount.e4kit IMAGE DIR [-sfnvr] [-N namespace] [-t type] [-o OPTIONS]
//	e4kit IMAGE DIR -o OPTIONS
//
// The latter, which mount.fuse(8) makes of the type fuse.e4kit, is known by a
// first word that is no command but a file, that exists or has a full name.
func mountWords(words []string, commands []string) []string {
	name := filepath.Base(words[0])
	rest := words[1:]
	switch name {
	case "mount.e4kit", "mount.fuse.e4kit":
		return helperWords(rest)
	}
	if len(rest) < 2 || strings.HasPrefix(rest[0], "-") || strings.HasPrefix(rest[1], "-") {
		return rest
	}
	for _, c := range commands {
		if rest[0] == c {
			return rest
		}
	}
	if len(rest) > 2 && !strings.HasPrefix(rest[2], "-o") {
		return rest
	}
	for _, file := range rest[:2] {
		if len(rest) > 2 && filepath.IsAbs(file) {
			continue // no command, and what is wrong with it is told later
		}
		if _, err := os.Stat(file); err != nil {
			return rest
		}
	}
	return helperWords(rest)
}

// helperWords reads the flags of a mount helper: s, n and v mean nothing here, N
// and t have a value that does not either. With f nothing is to be done, and
// there are no words.
func helperWords(words []string) []string {
	out, args := []string{"mount"}, []string(nil)
	for i := 0; i < len(words); i++ {
		w := words[i]
		if len(w) < 2 || w[0] != '-' || w == "--" || strings.HasPrefix(w, "--") {
			args = append(args, w)
			continue
		}
		for k := 1; k < len(w); k++ {
			switch w[k] {
			case 's', 'n', 'v':
				continue
			case 'f':
				return nil
			case 'r', 'w':
				out = append(out, "-o", map[byte]string{'r': "ro", 'w': "rw"}[w[k]])
				continue
			case 'o', 'N', 't':
				value := w[k+1:]
				if value == "" && i+1 < len(words) {
					i++
					value = words[i]
				}
				// mount(8) says rw whether it was asked for or not.
				if value != "rw" && w[k] == 'o' {
					out = append(out, "-o", strings.TrimPrefix(value, "rw,"))
				}
			default:
				args = append(args, "-"+w[k:])
			}
			break
		}
	}
	return append(out, args...)
}
