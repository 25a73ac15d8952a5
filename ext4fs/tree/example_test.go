package tree_test

import (
	"context"
	"fmt"
	"log"
	"strings"
	"testing/fstest"

	"github.com/e4kit/e4kit/ext4fs/tree"
)

func ExampleLoad() {
	base := fstest.MapFS{
		"etc/hostname":      {Data: []byte("base\n"), Mode: 0o644},
		"usr/share/doc/big": {Data: []byte("..."), Mode: 0o644},
	}
	overlay := fstest.MapFS{"etc/hostname": {Data: []byte("box\n"), Mode: 0o600}}
	table, err := tree.ParseDevtable("devices", strings.NewReader("/dev/tty c 666 0 5 4 0 0 1 2\n"))
	if err != nil {
		log.Fatal(err)
	}
	t, err := tree.Load(context.Background(), tree.Options{
		Exclude:   []string{"/usr/share/doc/"},
		Devtables: []*tree.Devtable{table},
	}, tree.FS(base), tree.FS(overlay))
	if err != nil {
		log.Fatal(err)
	}
	defer t.Close()
	var show func(id tree.ID)
	show = func(id tree.ID) {
		n := t.Node(id)
		fmt.Printf("%06o %d:%d %d %s\n", n.Mode, n.UID, n.GID, n.Size, t.Path(id))
		for _, e := range t.Entries(id) {
			show(e.ID)
		}
	}
	show(tree.Root)
	// Output:
	// 040555 0:0 0 /
	// 040755 0:0 0 /dev
	// 020666 0:5 0 /dev/tty0
	// 020666 0:5 0 /dev/tty1
	// 040555 0:0 0 /etc
	// 100600 0:0 4 /etc/hostname
	// 040555 0:0 0 /usr
	// 040555 0:0 0 /usr/share
}
