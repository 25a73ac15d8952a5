package main

import (
	"encoding/base64"
	"time"
	"unicode/utf8"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// jsonPath is a name in JSON. JSON has no bytes, so a name that is not UTF-8
// comes with its bytes in base64 as well.
type jsonPath struct {
	Path   string `json:"path"`
	Base64 string `json:"path_base64,omitempty"`
}

func newJSONPath(p string) jsonPath {
	j := jsonPath{Path: p}
	if !utf8.ValidString(p) {
		j.Base64 = base64.StdEncoding.EncodeToString([]byte(p))
	}
	return j
}

// jsonTarget is where a link leads, with its bytes as jsonPath has them.
type jsonTarget struct {
	Target       string `json:"target"`
	TargetBase64 string `json:"target_base64,omitempty"`
}

func newJSONTarget(target string) jsonTarget {
	p := newJSONPath(target)
	return jsonTarget{p.Path, p.Base64}
}

// record is what ls, find, tree and stat say of a file in JSON.
type record struct {
	Image string `json:"image,omitempty"`
	jsonPath
	Inode   disk.InodeNum `json:"inode"`
	Type    string        `json:"type"`
	Mode    string        `json:"mode"` // octal permissions, four digits
	UID     uint32        `json:"uid"`
	GID     uint32        `json:"gid"`
	Links   uint16        `json:"links"`
	Size    int64         `json:"size"`
	Sectors uint64        `json:"sectors"` // of 512 bytes
	Mtime   string        `json:"mtime"`
	Atime   string        `json:"atime,omitempty"`
	Ctime   string        `json:"ctime,omitempty"`
	Crtime  string        `json:"crtime,omitempty"`
	*jsonTarget
	Major *uint32 `json:"major,omitempty"`
	Minor *uint32 `json:"minor,omitempty"`
}

func newRecord(path string, i *ext4fs.Inode) *record {
	st := i.Stat()
	r := &record{
		jsonPath: newJSONPath(path), Inode: st.Inode, Type: typeWord(st.RawMode),
		Mode: octal(uint32(st.RawMode & 0o7777)), UID: st.UID, GID: st.GID, Links: st.Links,
		Size: st.Size, Sectors: st.Sectors,
		Mtime: jsonTime(st.Mtime), Atime: jsonTime(st.Atime), Ctime: jsonTime(st.Ctime),
	}
	if !st.Crtime.IsZero() {
		r.Crtime = jsonTime(st.Crtime)
	}
	if isDevice(st) {
		r.Major, r.Minor = &st.Major, &st.Minor
	}
	if i.IsSymlink() {
		if target, err := i.Readlink(); err == nil {
			t := newJSONTarget(target)
			r.jsonTarget = &t
		}
	}
	return r
}

// octal is four digits at least.
func octal(mode uint32) string {
	const digits = "01234567"
	b := []byte{digits[mode>>9&7], digits[mode>>6&7], digits[mode>>3&7], digits[mode&7]}
	return string(b)
}

// jsonTime is RFC 3339 in UTC with all that the inode keeps.
func jsonTime(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
