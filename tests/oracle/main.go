// Command oracle answers, with Kubernetes' own libraries, what our schema crate answers by itself.
//
// Each line on standard input is a JSON request, each line on standard output its JSON answer.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
)

// request is one question; which fields count depends on Op.
type request struct {
	Op          string         `json:"op"`
	APIVersion  string         `json:"apiVersion"`
	Kind        string         `json:"kind"`
	Live        map[string]any `json:"live"`
	Object      map[string]any `json:"object"`
	Patch       map[string]any `json:"patch"`
	Manager     string         `json:"manager"`
	Subresource string         `json:"subresource"`
	Reset       []string       `json:"reset"`
	Force       bool           `json:"force"`
	Deduced     bool           `json:"deduced"`
	Schema      map[string]any `json:"schema"`
	Text        string         `json:"text"`
	Other       string         `json:"other"`
	Labels      labelSet       `json:"labels"`
}

// answer holds what the library said: a result, or why it refused.
type answer struct {
	Object map[string]any `json:"object,omitempty"`
	Text   string         `json:"text,omitempty"`
	List   []string       `json:"list,omitempty"`
	More   []string       `json:"more,omitempty"`
	Number int            `json:"number"`
	Yes    bool           `json:"yes"`
	Error  string         `json:"error,omitempty"`
}

var operations = map[string]func(request) (answer, error){
	"strategic": strategic,
	"apply":     apply,
	"update":    update,
	"quantity":  quantity,
	"selector":  selector,
	"name":      name,
	"crd":       crd,
	"strict":    strict,
}

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) == 0 || err != nil {
			return
		}
		encoded, err := json.Marshal(serve(line))
		if err != nil {
			fmt.Fprintln(os.Stderr, "oracle:", err)
			os.Exit(1)
		}
		_, _ = out.Write(append(encoded, '\n'))
		_ = out.Flush()
	}
}

func serve(line []byte) (said answer) {
	defer func() {
		if broken := recover(); broken != nil {
			said = answer{Error: fmt.Sprintf("panic: %v\n%s", broken, debug.Stack())}
		}
	}()
	var asked request
	if err := decode(line, &asked); err != nil {
		return answer{Error: "bad request: " + err.Error()}
	}
	operation, known := operations[asked.Op]
	if !known {
		return answer{Error: "bad request: no operation " + asked.Op}
	}
	result, err := operation(asked)
	if err != nil {
		result.Error = err.Error()
	}
	return result
}
