package mount

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs"
)

func TestParseOptions(t *testing.T) {
	id := func(n uint32) *uint32 { return &n }
	for list, want := range map[string]Options{
		"":                               {},
		"defaults,,nofail,x-systemd.y=1": {},
		"ro,rw":                          {ReadWrite: true},
		"ro":                             {ReadOnly: true},
		"noload":                         {ReadOnly: true, NoLoad: true},
		"data=journal,commit=30":         {Data: ext4fs.DataJournal, CommitInterval: 30 * time.Second},
		"errors=remount-ro,noatime,sync": {Errors: ErrorsRemountRO, Atime: AtimeNever, Sync: true},
		"strictatime,lazytime,dirsync":   {Atime: AtimeStrict, LazyTime: true, DirSync: true},
		"noacl,nouser_xattr,minixdf":     {ACL: SwitchOff, Xattr: SwitchOff, MinixDF: true},
		"offset=1m,cache_size=0x10k":     {Offset: 1 << 20, CacheSize: 16 << 10},
		"uid=0,gid=4294967294,fakeroot":  {UID: id(0), GID: id(4294967294), FakeRoot: true},
		"resuid=5,resgid=6":              {ReservedUID: id(5), ReservedGID: id(6)},
		"io_uring":                       {IOURing: SwitchOn},
		"io_uring,no_io_uring":           {IOURing: SwitchOff},
		"idmap,no_open,parallel_dio":     {IDMap: true, NoOpen: true, ParallelDirect: true},
		"allow_other,private":            {Private: true},
		"private,allow_other":            {AllowOther: true},
		`lockfile=a\,b\\c,fsname=x=y`:    {LockFile: `a,b\c`, FSName: "x=y"},
		"private,kernel,nosuid": {AllowOther: true, DefaultPermissions: SwitchOn, Suid: SwitchOff, Dev: SwitchOn,
			ACL: SwitchOn},
	} {
		got, err := ParseOptions(list)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v", list, got, err)
		}
	}
	for _, list := range []string{
		"nonsense", "ro=1", "offset", "offset=", "offset=-1", "offset=9223372036854775807k", "commit=x", "commit=99999999999",
		"data=some", "errors=", "uid=-1", "uid=4294967295", "uid=", "lockfile=", "max_read=1", "cache_size=1t",
	} {
		if _, err := ParseOptions(list); !errors.Is(err, ErrOption) {
			t.Errorf("%q: %v", list, err)
		}
	}
}

func FuzzParseOptions(f *testing.F) {
	f.Add(`ro,uid=5,a\,b`)
	f.Fuzz(func(t *testing.T, list string) {
		o, err := ParseOptions(list)
		if err == nil && (o.Offset < 0 || o.CacheSize < 0 || o.CommitInterval < 0) {
			t.Errorf("%q: %+v", list, o)
		}
	})
}
