# In place of gcc's crtbegin.o and crtbeginS.o, which the linker is told to put behind musl's start files.
# They serve C++ and unwinding. Of all they define, Rust programs ask for one name: the handle of "this module".
.section .note.GNU-stack,"",@progbits
.data
.hidden __dso_handle
.globl __dso_handle
.balign 8
__dso_handle:
    .quad 0
