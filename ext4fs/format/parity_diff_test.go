package format

import (
	"fmt"
	"reflect"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// superDiff lists the fields that differ.
func superDiff(want, got *disk.Superblock) (out []string) {
	w, g := reflect.ValueOf(*want), reflect.ValueOf(*got)
	for i := range w.NumField() {
		f := w.Type().Field(i)
		if !f.IsExported() {
			continue
		}
		if a, b := w.Field(i).Interface(), g.Field(i).Interface(); !reflect.DeepEqual(a, b) {
			out = append(out, fmt.Sprintf("%s is %v, mke2fs has %v", f.Name, b, a))
		}
	}
	return out
}
