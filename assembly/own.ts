/**
 * Where a program of the user's own stands: `twinplane build` compiles another text in place of this file, which calls the
 * functions that the user's file exports. As it is, nothing happens here.
 */
export class Own {
  /** After Cilium's policy decision. `port` in wire order. */
  @inline
  static policy(verdict: i32, _egress: bool, _policy: u32, _remote: u32, _protocol: u8, _port: u16): i32 {
    return verdict;
  }
}
