//go:build amd64 || arm64

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HIDDEN __attribute__((visibility("hidden")))

static void unloaded(void)
{
	fputs("Z3 was called before its library was loaded\n", stderr);
	abort();
}

// For each function, a variable with its address and a jump there. Both are
// hidden, so that the library itself calls its own functions.
#define SYMBOL(name) HIDDEN void *libz3_at_##name = (void *)unloaded;
#include "symbols.h"
#undef SYMBOL

#ifdef __aarch64__
#define JUMP(name)                           \
	"adrp x16, libz3_at_" name "\n"          \
	"ldr x16, [x16, :lo12:libz3_at_" name "]\n" \
	"br x16\n"
#else
#define JUMP(name) "jmp *libz3_at_" name "(%rip)\n"
#endif

#define SYMBOL(name)                     \
	__asm__(".text\n"                    \
	        ".globl " #name "\n"         \
	        ".hidden " #name "\n"        \
	        ".type " #name ", %function\n" \
	        #name ":\n" JUMP(#name));
#include "symbols.h"
#undef SYMBOL

static const struct {
	const char *name;
	void **at;
} symbols[] = {
#define SYMBOL(name) {#name, &libz3_at_##name},
#include "symbols.h"
#undef SYMBOL
};

enum { count = sizeof symbols / sizeof symbols[0] };

// libz3_load looks the functions up in a library. It returns NULL, or why not
// as a string to be freed.
char *libz3_load(const char *file)
{
	void *found[count];
	void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);

	if (!library)
		return strdup(dlerror());
	for (int i = 0; i < count; i++) {
		found[i] = dlsym(library, symbols[i].name);
		if (!found[i]) {
			char *message = strdup(dlerror());
			dlclose(library);
			return message;
		}
	}
	for (int i = 0; i < count; i++)
		*symbols[i].at = found[i];
	return NULL;
}
