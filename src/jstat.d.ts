/** The part of jstat that is used; the package ships no types. */
declare module 'jstat' {
  const jstat: {
    studentt: {
      /** The p-quantile of Student's t with `dof` degrees of freedom. */
      inv(p: number, dof: number): number;
    };
  };
  export default jstat;
}
