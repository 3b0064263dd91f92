# Each user who has Dragoman's data, one a line: name, home.
users_of_dragoman() {
  getent passwd | while IFS=: read -r name _ uid _ _ home shell; do
    case $shell in */nologin | */false) continue ;; esac
    [ "$uid" -ge 1000 ] || [ "$uid" -eq 0 ] || continue
    [ -d "$home/.local/share/dragoman" ] || [ -d "$home/.config/dragoman" ] || continue
    printf '%s %s %s\n' "$name" "$uid" "$home"
  done
}

# Run dragoman as one of them, at most a minute; what fails is said and ends nothing.
as_user() {
  user=$1 uid=$2 home=$3
  shift 3
  runtime=/run/user/$uid
  [ -d "$runtime" ] || runtime=
  timeout 60 runuser -u "$user" -- env -i "HOME=$home" "USER=$user" "LOGNAME=$user" \
    PATH=/usr/bin:/bin ${runtime:+"XDG_RUNTIME_DIR=$runtime"} \
    sh -c 'cd / && exec /usr/bin/dragoman "$@"' dragoman "$@" </dev/null
}
