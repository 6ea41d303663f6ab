// SPDX-License-Identifier: Apache-2.0

// Command static says what it finds in the base scratch+certs. Its argument is a
// web server whose certificate it has to trust.
package main

import (
	"fmt"
	"net/http"
	"os"
	"os/user"
	"time"
)

func main() {
	resp, err := http.Get(os.Args[1])
	if err == nil {
		fmt.Println("answer", resp.StatusCode)
	} else {
		fmt.Println(err)
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err == nil {
		fmt.Println("noon", time.Date(2024, 7, 1, 10, 0, 0, 0, time.UTC).In(berlin).Format("15:04 MST"))
	} else {
		fmt.Println(err)
	}
	fmt.Println("ids", os.Getuid(), os.Getgid())
	if u, err := user.Current(); err == nil {
		fmt.Println("user", u.Username, u.HomeDir)
	} else {
		fmt.Println(err)
	}
	dir, _ := os.Getwd()
	fmt.Println("in", dir)
	for _, path := range []string{"file", "/tmp/file", "/root/file", "/etc/file"} {
		fmt.Println("write", path, os.WriteFile(path, nil, 0o600) == nil)
	}
}
