// SPDX-License-Identifier: Apache-2.0

// Command site serves the files in /srv.
package main

import (
	"log"
	"net/http"
	"os"
)

func main() {
	addr := ":8080"
	if len(os.Args) > 1 {
		addr = os.Args[1]
	}
	log.Fatal(http.ListenAndServe(addr, http.FileServer(http.Dir("/srv"))))
}
