package pax

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const blockSize = 512

// Types of members.
const (
	TypeRegular    = '0'
	TypeLink       = '1' // another name of a member that came before
	TypeSymlink    = '2'
	TypeChar       = '3'
	TypeBlock      = '4'
	TypeDir        = '5'
	TypeFIFO       = '6'
	TypeContiguous = '7' // a regular file
	TypeDumpDir    = 'D' // a directory; its data is a list for incremental restores
	TypeVolume     = 'V' // a name of the archive, no file

	typeOldRegular = 0
	typeExtended   = 'x'
	typeOldRecords = 'X' // of Solaris, before there was a standard
	typeGlobal     = 'g'
	typeLongName   = 'L'
	typeLongLink   = 'K'
	typeSparse     = 'S'
)

// header is what a member's header says.
type header struct {
	name         string
	mode         uint32
	uid, gid     uint32
	size         int64 // of the data that follows
	mtime        time.Time
	kind         byte
	link         string
	major, minor uint32
	records      []record // beyond what the fields themselves need
}

// record is a keyword and value of an extended header.
type record struct{ key, value string }

// bytes returns the blocks of the header, with an extended header before it
// where the fields of ustar do not hold what has to be said.
func (h *header) bytes() []byte {
	records := append([]record(nil), h.records...)
	text := func(key, value string, room int) string {
		if len(value) <= room && isASCII(value) {
			return value
		}
		if key != "" {
			records = append(records, record{key, value})
		}
		return cut(value, room)
	}
	number := func(key string, value int64, digits int) int64 {
		if value >= 0 && value < 1<<(3*digits) {
			return value
		}
		if key != "" {
			records = append(records, record{key, strconv.FormatInt(value, 10)})
		}
		return 0
	}
	b := make([]byte, blockSize)
	nameKey := "path"
	if h.has("GNU.sparse.name") {
		nameKey = ""
	}
	copy(b[0:100], text(nameKey, h.name, 100))
	putOctal(b[100:108], int64(h.mode))
	putOctal(b[108:116], number("uid", int64(h.uid), 7))
	putOctal(b[116:124], number("gid", int64(h.gid), 7))
	putOctal(b[124:136], number("size", h.size, 11))
	seconds := number("", h.mtime.Unix(), 11)
	if h.mtime.Nanosecond() != 0 || seconds != h.mtime.Unix() {
		records = append(records, record{"mtime", paxTime(h.mtime)})
	}
	putOctal(b[136:148], seconds)
	b[156] = h.kind
	copy(b[157:257], text("linkpath", h.link, 100))
	copy(b[257:], "ustar\x0000")
	putOctal(b[329:337], number("SCHILY.devmajor", int64(h.major), 7))
	putOctal(b[337:345], number("SCHILY.devminor", int64(h.minor), 7))
	putChecksum(b)
	if len(records) == 0 {
		return b
	}
	if !utf8.ValidString(h.name) || !utf8.ValidString(h.link) {
		// Names are UTF-8 by default; readers that care are told.
		records = append([]record{{"hdrcharset", "BINARY"}}, records...)
	}
	return append(extended(h.name, records), b...)
}

func (h *header) has(key string) bool {
	for _, r := range h.records {
		if r.key == key {
			return true
		}
	}
	return false
}

// extended returns the blocks of an extended header.
func extended(name string, records []record) []byte {
	var body strings.Builder
	for _, r := range records {
		body.WriteString(r.String())
	}
	b := make([]byte, blockSize, blockSize+body.Len()+blockSize)
	copy(b[0:100], cut("PaxHeaders/"+base(name), 100))
	putOctal(b[100:108], 0o644)
	putOctal(b[108:116], 0)
	putOctal(b[116:124], 0)
	putOctal(b[124:136], int64(body.Len()))
	putOctal(b[136:148], 0)
	b[156] = typeExtended
	copy(b[257:], "ustar\x0000")
	putOctal(b[329:337], 0)
	putOctal(b[337:345], 0)
	putChecksum(b)
	b = append(b, body.String()...)
	return append(b, make([]byte, padding(int64(body.Len())))...)
}

// String is "LENGTH KEY=VALUE\n", where LENGTH counts all of it, itself
// included.
func (r record) String() string {
	rest := len(r.key) + len(r.value) + 3
	n := rest + len(strconv.Itoa(rest))
	if rest+len(strconv.Itoa(n)) != n {
		n = rest + len(strconv.Itoa(n))
	}
	return strconv.Itoa(n) + " " + r.key + "=" + r.value + "\n"
}

// putOctal fills a field with digits and a NUL at the end.
func putOctal(b []byte, n int64) {
	copy(b, fmt.Sprintf("%0*o", len(b)-1, n))
}

// putChecksum sums the block with the field itself as blanks.
func putChecksum(b []byte) {
	copy(b[148:156], "        ")
	sum := 0
	for _, c := range b {
		sum += int(c)
	}
	copy(b[148:156], fmt.Sprintf("%06o\x00 ", sum))
}

// paxTime is seconds with a fraction. Before 1970 the fraction counts
// backwards, as in all decimal numbers.
func paxTime(t time.Time) string {
	s, ns := t.Unix(), int64(t.Nanosecond())
	sign := ""
	if s < 0 && ns > 0 {
		s, ns = s+1, 1e9-ns
		if s == 0 {
			sign = "-"
		}
	}
	if ns == 0 {
		return strconv.FormatInt(s, 10)
	}
	return sign + strconv.FormatInt(s, 10) + "." + strings.TrimRight(fmt.Sprintf("%09d", ns), "0")
}

// padding is what fills the last block.
func padding(n int64) int64 { return -n & (blockSize - 1) }

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 || s[i] < 0x20 {
			return false
		}
	}
	return true
}

// cut makes something that fits a field, for readers that know no extended
// headers.
func cut(s string, room int) string {
	b := []byte(s)
	if len(b) > room {
		b = b[:room]
	}
	for i, c := range b {
		if c >= 0x80 || c < 0x20 {
			b[i] = '_'
		}
	}
	return string(b)
}

// base is the last element of a name.
func base(name string) string {
	name = strings.TrimRight(name, "/")
	return name[strings.LastIndexByte(name, '/')+1:]
}
