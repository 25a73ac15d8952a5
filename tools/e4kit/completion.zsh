#compdef e4kit
# zsh completion for e4kit

_e4kit() {
    local -a typed plain described
    local line then_do=''
    typed=("${(@Q)words[2,CURRENT]}")
    while IFS= read -r line; do
        case $line in
            :*) then_do=${line#:} ;;
            *$'\t'*) described+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}") ;;
            *) plain+=("$line") ;;
        esac
    done < <("${words[1]}" __complete -- "${typed[@]}" 2>/dev/null)

    local -a how
    [[ $then_do == nospace ]] && how=(-S '')
    (( $#described )) && _describe -V e4kit described
    (( $#plain )) && compadd "${how[@]}" -U -- "${plain[@]}"
    [[ $then_do == files ]] && _files
    return 0
}

if [[ $funcstack[1] == _e4kit ]]; then
    _e4kit "$@"
else
    compdef _e4kit e4kit
fi
