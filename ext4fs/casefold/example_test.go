package casefold_test

import (
	"fmt"

	"github.com/e4kit/e4kit/ext4fs/casefold"
)

func ExampleEqual() {
	fmt.Println(casefold.Equal([]byte("Straße"), []byte("STRASSE")))
	fmt.Println(casefold.Equal([]byte("café"), []byte("CAFE\u0301")))
	fmt.Println(casefold.Equal([]byte("cafe"), []byte("CAFÉ")))
	// Output:
	// true
	// true
	// false
}
