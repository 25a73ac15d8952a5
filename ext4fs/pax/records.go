package pax

import (
	"bytes"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// extended reads records "LENGTH KEY=VALUE\n" and appends them to list.
func (t *Reader) extended(list []record) ([]record, error) {
	size := t.left
	b, err := t.all(t.budget)
	if err != nil {
		return nil, err
	}
	t.budget -= int(size)
	for len(b) > 0 {
		digits, _, ok := bytes.Cut(b[:min(len(b), 20)], []byte{' '})
		n, err := strconv.Atoi(string(digits))
		if !ok || err != nil || n <= len(digits)+1 || n > len(b) || b[n-1] != '\n' {
			return nil, t.bad("bad record in an extended header")
		}
		key, value, ok := bytes.Cut(b[len(digits)+1:n-1], []byte{'='})
		if !ok || len(key) == 0 {
			return nil, t.bad("bad record in an extended header")
		}
		list = append(list, record{keyText(key), string(value)})
		b = b[n:]
	}
	return list, nil
}

// keyText saves the memory of the keywords that all members have.
func keyText(key []byte) string {
	switch string(key) {
	case "path":
		return "path"
	case "linkpath":
		return "linkpath"
	case "mtime":
		return "mtime"
	case "atime":
		return "atime"
	case "ctime":
		return "ctime"
	case "size":
		return "size"
	}
	return string(key)
}

// addGlobal reads a global header, which adds to those before.
func (t *Reader) addGlobal() error {
	list, err := t.extended(nil)
	if err != nil {
		return err
	}
	g := &globals{values: make(map[string]string)}
	if t.global != nil {
		maps.Copy(g.values, t.global.values)
	}
	for _, r := range list {
		if r.value == "" && !isXattrKey(r.key) {
			delete(g.values, r.key)
		} else {
			g.values[r.key] = r.value
		}
	}
	for key, value := range g.values {
		g.size += len(key) + len(value)
		if isXattrKey(key) {
			g.xattrs = append(g.xattrs, key)
		}
	}
	slices.Sort(g.xattrs)
	if g.size > maxGlobal || len(g.values) > maxGlobals {
		return t.bad("%d bytes of global records", g.size)
	}
	t.global = g
	return nil
}

// apply takes what records say of everything but holes. size is that of the
// data.
func (t *Reader) apply(h *Header, size *int64) error {
	if v, ok := h.Record("path"); ok {
		h.Name = v
	}
	if v, ok := h.Record("linkpath"); ok {
		h.Link = v
	}
	for _, f := range []struct {
		key string
		to  *int64
	}{{"uid", &h.UID}, {"gid", &h.GID}, {"size", size}, {"SCHILY.devmajor", &h.Major}, {"SCHILY.devminor", &h.Minor}} {
		v, ok := h.Record(f.key)
		if !ok || f.to == nil {
			continue
		}
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < 0 {
			return t.bad("%s=%q", f.key, excerpt(v))
		}
		*f.to = n
	}
	for _, f := range []struct {
		key string
		to  *time.Time
	}{{"mtime", &h.Mtime}, {"atime", &h.Atime}, {"ctime", &h.Ctime}} {
		v, ok := h.Record(f.key)
		if !ok {
			continue
		}
		if *f.to, ok = parseTime(v); !ok {
			return t.bad("%s=%q", f.key, excerpt(v))
		}
	}
	return nil
}

// excerpt is what of a value goes into a message.
func excerpt(s string) string {
	if len(s) > 64 {
		return s[:64] + "..."
	}
	return s
}

func isXattrKey(key string) bool {
	return strings.HasPrefix(key, keyXattr) || strings.HasPrefix(key, keyLibXattr)
}
