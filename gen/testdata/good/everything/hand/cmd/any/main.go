package main

import "fmt"

func main() {
	for _, b := range backends {
		fmt.Println(b.name, b.title, b.summary, b.schemes, b.example, b.open != nil)
	}
}
