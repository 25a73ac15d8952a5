package dump

import (
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Backup is a copy of the superblock and how it differs from the one that the
// image is read with.
type Backup struct {
	Type        string       `json:"type"`
	Group       uint32       `json:"group" text:"Backup of group"`
	Block       uint64       `json:"block" text:"In block"`
	Super       *Super       `json:"superblock"`
	Differences []Difference `json:"differences"`
}

// Difference is one field that differs.
type Difference struct {
	Field   string `json:"field"`
	Primary string `json:"primary"`
	Backup  string `json:"backup"`
	// Normal: backups are not kept up to date in this field.
	Normal bool `json:"normal"`
}

// normalDifferences are the fields that change while a file system is in use
// and that only the primary superblock follows.
var normalDifferences = map[string]bool{
	"offset": true, "group_nr": true, "state": true, "checksum": true, "free_blocks": true, "free_inodes": true,
	"mount_time": true, "write_time": true, "last_check": true, "mount_count": true, "kbytes_written": true,
	"last_mounted": true, "last_orphan": true, "error_count": true, "first_error": true, "last_error": true,
	"overhead_clusters": true, "feature_incompat": true, "feature_ro_compat": true,
}

// Backup returns the superblock's copy in group g.
func (im *Image) Backup(g disk.GroupNum) (*Backup, error) {
	if err := im.geometry(); err != nil {
		return nil, err
	}
	s := &im.super
	switch {
	case g >= s.Groups():
		return nil, im.noGroup(g)
	case g == 0 || !s.HasSuper(g):
		return nil, fmt.Errorf("group %d has no backup of the superblock; those have: %s", g, im.backupGroups())
	}
	v := &Backup{Type: "backup_superblock", Group: uint32(g), Block: uint64(s.GroupFirstBlock(g)), Differences: []Difference{}}
	raw := make([]byte, disk.SuperblockSize)
	at := int64(v.Block) * int64(im.blockSize())
	if err := device.ReadFull(im.dev, raw, at); err != nil {
		return nil, fmt.Errorf("read backup superblock in block %d: %w", v.Block, err)
	}
	v.Super = newSuper(raw, at, im.dev.Size())
	v.compare(reflect.ValueOf(im.Super()).Elem(), reflect.ValueOf(v.Super).Elem())
	return v, nil
}

// BackupGroups lists the groups that carry a backup superblock.
func (im *Image) BackupGroups() []disk.GroupNum {
	var list []disk.GroupNum
	if im.fs == nil {
		return nil
	}
	for g := disk.GroupNum(1); g < im.super.Groups(); g++ {
		if im.super.HasSuper(g) {
			list = append(list, g)
		}
	}
	return list
}

func (im *Image) backupGroups() string {
	const most = 24
	var words []string
	for _, g := range im.BackupGroups() {
		if len(words) == most {
			return strings.Join(words, " ") + " ..."
		}
		words = append(words, utoa(g))
	}
	if words == nil {
		return "none"
	}
	return strings.Join(words, " ")
}

// compare lists the fields that differ, by their names in JSON.
func (v *Backup) compare(a, b reflect.Value) {
	t := a.Type()
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			v.compare(a.Field(i), b.Field(i))
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if _, shown := f.Tag.Lookup("text"); !shown || reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			continue
		}
		hexadecimal := strings.Contains(f.Tag.Get("text"), ",hex")
		v.Differences = append(v.Differences, Difference{
			Field: name, Primary: fieldText(a.Field(i), hexadecimal), Backup: fieldText(b.Field(i), hexadecimal),
			Normal: v.normal(name, a.Field(i).Interface(), b.Field(i).Interface()),
		})
	}
}

// normal judges one difference. Feature words may differ by the bits that only
// say how the file system was left, or that the kernel sets when it needs them.
func (v *Backup) normal(name string, a, b any) bool {
	fa, ok := a.(Flags)
	if !ok {
		return normalDifferences[name]
	}
	diff := fa.Raw ^ b.(Flags).Raw
	switch name {
	case "feature_incompat":
		return diff&^uint32(disk.IncompatRecover|disk.IncompatExtents) == 0
	case "feature_ro_compat":
		return diff&^uint32(disk.ROCompatLargeFile|disk.ROCompatDirNlink|disk.ROCompatOrphanPresent) == 0
	case "feature_compat":
		return diff&^uint32(disk.CompatExtAttr) == 0
	}
	return normalDifferences[name]
}

func fieldText(v reflect.Value, hexadecimal bool) string {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return "none"
		}
		v = v.Elem()
	}
	return formatValue(v, hexadecimal)
}

// WriteText writes the copy and its differences.
func (v *Backup) WriteText(w io.Writer) error {
	return render(w, func(p *printer) {
		p.fields(v)
		p.fields(v.Super)
		p.problems(v.Super.Problems)
		if len(v.Differences) == 0 {
			p.linef("No differences from the superblock in use.")
			return
		}
		p.linef("Differences from the superblock in use:")
		p.block(func() {
			for _, d := range v.Differences {
				mark := "!"
				if d.Normal {
					mark = " "
				}
				p.linef("%s %s: %s, here %s", mark, d.Field, d.Primary, d.Backup)
			}
		})
	})
}
