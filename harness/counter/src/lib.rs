//! A plugin of QEMU's translator that counts a guest's instructions into a shared mapping.
