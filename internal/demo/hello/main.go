// SPDX-License-Identifier: Apache-2.0

// Hello is the program in the demo's images.
package main

import (
	"fmt"
	"os"
	"runtime"
)

func main() {
	name := "world"
	if len(os.Args) > 1 {
		name = os.Args[1]
	}
	fmt.Printf("hello, %s, from %s/%s\n", name, runtime.GOOS, runtime.GOARCH)
}
