; Nothing happens to what is not for BPF.
;
; RUN: %opt -passes='k2-atomic,k2-merge,k2-widen' -S %s -o %t
; RUN: %opt -S %s | diff - %t

target triple = "x86_64-pc-linux-gnu"

@data = global [8 x i8] zeroinitializer, align 1

define i32 @f(ptr %ctx) {
  %word = load i32, ptr %ctx, align 4
  %wide = zext i32 %word to i64
  %data = inttoptr i64 %wide to ptr
  %a = load i32, ptr %data, align 1
  store i8 1, ptr @data, align 1
  store i8 2, ptr getelementptr (i8, ptr @data, i64 1), align 1
  %old = load atomic i32, ptr @data monotonic, align 4
  %new = add i32 %old, 1
  store atomic i32 %new, ptr @data monotonic, align 4
  ret i32 %a
}
