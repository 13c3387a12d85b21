# In place of gcc's crtend.o and crtendS.o: nothing is wanted of them.
.section .note.GNU-stack,"",@progbits
